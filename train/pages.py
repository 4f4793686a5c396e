"""How a page becomes HTML: one style, every value escaped, a name that a template lacks is an error."""

import pathlib

import jinja2

from train import numbers

TEMPLATES = pathlib.Path(__file__).parent / "templates"


def environment(*folders: pathlib.Path) -> jinja2.Environment:
    """Templates of `folders`, and those that all pages share."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader((*folders, TEMPLATES)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"si": numbers.si, "digits": numbers.digits, "seconds": numbers.seconds}
    return made


def render(template: str, **values: object) -> str:
    return environment().get_template(template).render(**values)
