"""Writes the table of all laws into docs/laws.md, between its two marks: python -m scripts.list_laws"""

import pathlib

from scaling.laws import LAWS, Law

PAGE = pathlib.Path("docs/laws.md")
START, END = "<!-- laws: python -m scripts.list_laws writes this table -->", "<!-- end of laws -->"


def row(law: Law) -> str:
    needs = ", ".join(f"{law.levels.get(name, 3)} {name}" for name in law.inputs)
    cells = (f"`{law.name}`", f"`{law.equation}`", law.output, needs, str(len(law.params) + 1), law.source)
    return "| " + " | ".join(cells) + " |"


def markdown() -> str:
    head = (
        "| law | equation | predicts | distinct values it needs | rows, at least | source |\n|---|---|---|---|--:|---|"
    )
    return "\n".join([START, head, *map(row, LAWS.values()), END])


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(START)[0], text.split(END)[1]
    PAGE.write_text(before + markdown() + after, encoding="utf-8")


if __name__ == "__main__":
    main()
