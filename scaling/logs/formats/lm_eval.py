"""Results of the language model evaluation harness: results_DATE.json."""

import json
from collections.abc import Iterator

from scaling.logs.formats import File, Format, contents
from scaling.logs.table import Log, Refusal, Unreadable, pack_rows


def fits(file: File) -> bool:
    head = file.head.lstrip()
    return head.startswith(b"{") and b'"results"' in head and (b",none" in head or b'"alias"' in head)


def read(file: File) -> Iterator[Log | Refusal]:
    """One row a file: a column a task and measure, as "hellaswag/acc", and the model's size and name."""
    try:
        found = json.loads(contents(file))
        results, config = found["results"], found.get("config") or {}
        row = {
            f"{task}/{measure.removesuffix(',none').replace(',', '/')}": value
            for task, measures in results.items() if isinstance(measures, dict)
            for measure, value in measures.items() if isinstance(value, int | float)
        }  # fmt: skip
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"half-written or not JSON ({error})") from None
    path, config = str(file.path), config if isinstance(config, dict) else {}
    if size := config.get("model_num_parameters"):
        row["model_num_parameters"] = size
    name = found.get("model_name") or file.path.parent.name
    yield Log(pack_rows([{"model": str(name), **row}]), [path], path)


FORMAT = Format("lm-eval's results", fits, read)
