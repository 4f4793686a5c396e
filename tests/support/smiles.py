"""A plain parser of SMILES (Weininger 1988), for molecules without charges and isotopes: is a line a molecule?

It asks for closed branches and rings, for no more bonds than an atom's valence, and, where atoms are aromatic, for
double bonds that can be placed so that each has its valence.  RDKit is milder in two things: an aromatic atom may
stand alone in a ring, and N(=O) with five bonds is read as charged.
"""

import re
from typing import NamedTuple

VALENCES = {"B": (3,), "C": (4,), "N": (3,), "O": (2,), "P": (3, 5), "S": (2, 4, 6)}
VALENCES |= dict.fromkeys(("H", "F", "Cl", "Br", "I"), (1,))
ORDERS = {"-": 1, "=": 2, "#": 3, ":": 1, "/": 1, "\\": 1}  # an aromatic bond's double is placed later
TOKEN = re.compile(
    r"\[(Cl|Br|[HBCNOPSFIbcnops])@{0,2}(H\d?)?\]|(Cl|Br|[BCNOPSFIbcnops])|([-=#:/\\])|(%\d\d|\d)|([().])"
)


class Molecule(NamedTuple):
    atoms: list[str]  # symbols, in small letters where they are aromatic
    hydrogens: list[int]  # of an atom in brackets, else -1: as many as its valence leaves
    bonds: dict[tuple[int, int], str]  # (first, second) → a sign of ORDERS, or "" where none is written


def problem(text: str) -> str:
    """Why `text` is no molecule; empty where it is one."""
    try:
        check(parsed(text))
    except ValueError as error:
        return str(error)
    return ""


def parsed(text: str) -> Molecule:
    molecule = Molecule([], [], {})
    opened: dict[str, tuple[int, str]] = {}  # ring number → its first atom, and the sign of the bond
    branches: list[int] = []
    last, sign, at = -1, "", 0

    def bond(a: int, b: int, sign: str) -> None:
        if a == b or (min(a, b), max(a, b)) in molecule.bonds:
            raise ValueError(f"atoms {a} and {b} are bonded twice, or one to itself")
        molecule.bonds[min(a, b), max(a, b)] = sign

    while at < len(text):
        token = TOKEN.match(text, at)
        if not token:
            raise ValueError(f"{text[at]!r} at {at} is nothing")
        inside, hydrogens, plain, bond_sign, ring, mark = token.groups()
        previous = text[at - 1 : at]
        at = token.end()
        if symbol := inside or plain:
            molecule.atoms.append(symbol)
            molecule.hydrogens.append(-1 if plain else 0 if not hydrogens else int(hydrogens[1:] or 1))
            if last >= 0:
                bond(last, len(molecule.atoms) - 1, sign)
            elif sign:
                raise ValueError("a bond stands before the first atom")
            last, sign = len(molecule.atoms) - 1, ""
        elif bond_sign:
            if sign:
                raise ValueError("two bonds stand in a row")
            sign = bond_sign
        elif last < 0:
            raise ValueError("no atom comes first")
        elif ring:
            first, earlier = opened.pop(ring, (-1, ""))
            if first < 0:
                opened[ring] = last, sign
            elif sign and earlier and sign != earlier:
                raise ValueError(f"ring {ring} is closed by another bond")
            else:
                bond(first, last, sign or earlier)
            sign = ""
        elif sign:
            raise ValueError("a bond leads to no atom")
        elif mark == "(":
            branches.append(last)
        elif mark == ")":
            if not branches or previous == "(":
                raise ValueError("a branch is empty, or was never opened")
            last = branches.pop()
        else:
            last = -1
    if opened or branches or sign or last < 0:
        raise ValueError("a ring, a branch or a bond is left open, or there is no atom")
    return molecule


def check(molecule: Molecule) -> None:
    """Raises where valences do not hold."""
    atoms, _, bonds = molecule
    bridges = bridged(len(atoms), list(bonds))
    aromatic = {
        pair
        for pair, sign in bonds.items()
        if sign in ("", ":") and all(atoms[a].islower() for a in pair) and pair not in bridges
    }
    used = [max(0, hydrogens) for hydrogens in molecule.hydrogens]
    for (a, b), sign in bonds.items():
        order = ORDERS[sign or "-"]
        used[a] += order
        used[b] += order
    in_ring = {a for pair in aromatic for a in pair}
    wanting = set()
    for a, symbol in enumerate(atoms):
        most = VALENCES[symbol.capitalize()]
        if symbol.islower() and a not in in_ring:
            raise ValueError(f"{symbol} of atom {a} is in no aromatic ring")
        if used[a] > most[-1]:
            raise ValueError(f"atom {a}, {symbol}, has {used[a]} bonds; it has at most {most[-1]}")
        if symbol.islower() and used[a] not in most:
            wanting.add(a)
    if not paired(wanting, aromatic):
        raise ValueError("double bonds cannot be placed in the aromatic rings")


def bridged(atoms: int, pairs: list[tuple[int, int]]) -> set[tuple[int, int]]:
    """The bonds that are in no ring: without one its ends do not reach each other."""

    def reached(start: int) -> set[int]:
        found, todo = {start}, [start]
        while todo:
            new = near[todo.pop()] - found
            found |= new
            todo += new
        return found

    near: list[set[int]] = [set() for _ in range(atoms)]
    for a, b in pairs:
        near[a].add(b)
        near[b].add(a)
    found = set()
    for a, b in pairs:
        near[a].remove(b)
        near[b].remove(a)
        if b not in reached(a):
            found.add((a, b))
        near[a].add(b)
        near[b].add(a)
    return found


def paired(wanting: set[int], bonds: set[tuple[int, int]]) -> bool:
    """Whether every atom of `wanting` can be joined by one of `bonds` to another of them, each to one (a matching)."""
    if not wanting:
        return True
    choices = {a: {b for pair in bonds if a in pair for b in pair if b != a and b in wanting} for a in wanting}
    first = min(wanting, key=lambda a: len(choices[a]))  # where there is least to choose
    return any(paired(wanting - {first, other}, bonds) for other in choices[first])
