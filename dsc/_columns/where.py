"""Conditions on columns: ``where="scene == 'kitchen' and caption_length > 20"``, or a function.

An expression is parsed by `ast` and worked out by this module for all samples of a shard at once;
nothing is ever evaluated by Python itself. What it may hold is listed in `GRAMMAR`.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from dsc._columns import algebra
from dsc._columns.column import Column, Mask, NumberColumn, Plain, flag
from dsc.errors import UsageError

Predicate = Callable[[Mapping[str, Any]], Any]
Value = Column | Plain

_ASSIGNS = re.compile(r"(?<![=!<>])=(?!=)")
GRAMMAR = (
    "== != < <= > >=, and or not, in, is None, + - * / // %, x[0], x.field, len lower upper abs, "
    "startswith endswith contains, column('name')"
)
MAX_LETTERS = 1 << 20

_SIGNS: dict[type[ast.AST], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%",
}  # fmt: skip
_TESTS: dict[str, Callable[[str, str], bool]] = {
    "startswith": str.startswith,
    "endswith": str.endswith,
    "contains": str.__contains__,
}
_CHANGES: dict[str, Callable[[str], str]] = {"lower": str.lower, "upper": str.upper}
_FUNCTIONS = ("len", "abs", *_TESTS, *_CHANGES)


class Columns(Protocol):
    """The columns of some samples."""

    @property
    def names(self) -> list[str]:
        """What columns there are."""
        ...

    def __len__(self) -> int: ...

    def column(self, name: str) -> Column:
        """Read a column; UsageError when there is none of this name."""
        ...

    def key(self, k: int) -> str:
        """Return the key of a sample."""
        ...


class Where:
    """A condition on the columns of a sample.

    Parameters
    ----------
    condition
        An expression, or a function of a mapping of columns.

    Attributes
    ----------
    text
        The expression, or the function's name.

    Raises
    ------
    UsageError
        When the expression cannot be read.
    """

    def __init__(self, condition: str | Predicate) -> None:
        self._call = None if isinstance(condition, str) else condition
        self._tree: ast.expr | None = None
        if isinstance(condition, str):
            self.text = condition
            self._tree = self._parse(condition)
        elif callable(condition):
            self.text = getattr(condition, "__qualname__", type(condition).__name__)
        else:
            raise UsageError(
                f"where={condition!r}: an expression in a string, as where=\"scene == 'kitchen'\", "
                "or a function of one row"
            )

    def __repr__(self) -> str:
        return f"where={self.text!r}" if self._call is None else f"where={self.text}"

    @property
    def is_function(self) -> bool:
        """Whether it is a function, not an expression."""
        return self._call is not None

    @property
    def columns(self) -> list[str]:
        """Names that the expression looks up, in the order of its text; of a function none."""
        nodes = [n for n in ast.walk(self._tree or ast.Pass()) if isinstance(n, ast.expr)]
        names: dict[str, None] = {}
        for node in sorted(nodes, key=lambda node: (node.lineno, node.col_offset)):
            if isinstance(node, ast.Name) and node.id not in (*_FUNCTIONS, "column"):
                names[node.id] = None
            elif _is_call(node, "column"):
                names[str(getattr(node.args[0], "value", ""))] = None  # type: ignore[attr-defined]
        return list(names)

    def holds(self, columns: Columns, among: Mask | None = None) -> Mask:
        """Return for which samples it holds, (n,).

        Parameters
        ----------
        among
            Which samples it matters for, (n,); a function is called for these only.

        Raises
        ------
        UsageError
            When it names no column, or cannot be worked out with what the columns are.
        """
        if self._call is not None:
            return self._called(self._call, columns, among)
        if self._tree is None:
            return np.ones(len(columns), bool)
        try:
            return _Evaluation(columns).condition(self._tree)
        except RecursionError:
            raise UsageError(f"where={self.text[:200]!r}: it is too deep; nest less") from None
        except UsageError as error:
            raise UsageError(f"{self!r}: {error.args[0]}") from None

    def _parse(self, text: str) -> ast.expr:
        try:
            if len(text) > MAX_LETTERS:
                raise UsageError(f"where: {len(text)} letters; for long lists give keys=")
            tree = ast.parse(text.strip(), mode="eval").body
            _check(tree)
        except SyntaxError as error:
            at = f" at letter {error.offset}" if error.offset else ""
            equal = "; is == meant?" if _ASSIGNS.search(text) else ""
            raise UsageError(
                f"where={text!r}: {error.msg}{at}{equal}; it may hold {GRAMMAR}"
            ) from None
        except (RecursionError, MemoryError, ValueError) as error:
            if isinstance(error, UsageError):
                raise UsageError(f"where={text[:200]!r}: {error.args[0]}") from None
            raise UsageError(f"where={text[:200]!r}: it cannot be read ({error})") from None
        return tree

    def _called(self, call: Predicate, columns: Columns, among: Mask | None) -> Mask:
        found = np.zeros(len(columns), bool)
        for k in range(len(columns)) if among is None else np.flatnonzero(among).tolist():
            try:
                found[k] = bool(call(_Row(columns, k)))
            except Exception as error:
                what = error.args[0] if isinstance(error, UsageError) else repr(error)
                raise UsageError(f"{self!r} of sample {columns.key(k)}: {what}") from error
        return found


class _Row(Mapping[str, Any]):
    """The columns of one sample, read when they are looked up."""

    def __init__(self, columns: Columns, k: int) -> None:
        self._columns, self._k = columns, k

    def __getitem__(self, name: str) -> Any:
        return self._columns.column(name).value(self._k)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns.names)

    def __len__(self) -> int:
        return len(self._columns.names)


def _is_call(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


_KNOWN = (
    ast.BoolOp, ast.UnaryOp, ast.BinOp, ast.Compare, ast.Call, ast.Attribute, ast.Subscript,
    ast.Name, ast.Constant, ast.Tuple, ast.List, ast.Set, ast.boolop, ast.unaryop, ast.operator,
    ast.cmpop, ast.expr_context,
)  # fmt: skip


def _check(tree: ast.expr) -> None:
    """Refuse what an expression may not hold."""
    for node in ast.walk(tree):
        allowed = isinstance(node, _KNOWN)
        if isinstance(node, ast.operator):
            allowed = type(node) in _SIGNS or isinstance(node, ast.BitAnd | ast.BitOr)
        if isinstance(node, ast.Constant):
            allowed = node.value is None or isinstance(node.value, bool | int | float | str)
        if not allowed:
            raise UsageError(f"{_spelled(node)} is not understood; it may hold {GRAMMAR}")
        if isinstance(node, ast.Call):
            _check_call(node)


def _spelled(node: ast.AST) -> str:
    try:
        found = ast.unparse(node)
    except (AttributeError, ValueError, RecursionError):
        found = ""
    return repr(found) if found else type(node).__name__


def _check_call(node: ast.Call) -> None:
    name, given = _called(node)
    wanted = 2 if name in _TESTS else 1
    if name not in (*_FUNCTIONS, "column") or node.keywords:
        raise UsageError(f"{_spelled(node)} is not understood; it may hold {GRAMMAR}")
    if len(given) != wanted or any(isinstance(one, ast.Starred) for one in given):
        raise UsageError(f"{_spelled(node)}: {name} takes {wanted} values")
    text = given[-1].value if isinstance(given[-1], ast.Constant) else None
    if (name in _TESTS or name == "column") and not isinstance(text, str):
        raise UsageError(f"{_spelled(node)}: {name} takes text in quotes")


def _called(node: ast.Call) -> tuple[str, list[ast.expr]]:
    """Return which function is called with what; ``x.lower()`` is ``lower(x)``."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr, [node.func.value, *node.args]
    return (node.func.id if isinstance(node.func, ast.Name) else "", node.args)


class _Evaluation:
    """An expression, worked out for some samples."""

    def __init__(self, columns: Columns) -> None:
        self._columns, self._samples = columns, len(columns)

    def condition(self, node: ast.expr) -> Mask:
        """Return for which samples an expression is true."""
        return algebra.truth(self.value(node), self._samples)

    def value(self, node: ast.expr) -> Value:
        """Work out an expression; `_check` has seen to it that there is a method for it."""
        method = getattr(self, f"_{type(node).__name__.lower()}")
        found: Value = method(node)
        return found

    def _constant(self, node: ast.Constant) -> Value:
        found: Plain = node.value  # type: ignore[assignment]
        return found

    def _tuple(self, node: ast.Tuple | ast.List | ast.Set) -> Value:
        found = tuple(self.value(one) for one in node.elts)
        if any(isinstance(one, Column | tuple) for one in found):
            raise UsageError(
                f"{_spelled(node)}: a list holds numbers and text, not columns or lists"
            )
        return found

    _list = _set = _tuple

    def _name(self, node: ast.Name) -> Value:
        return self._columns.column(node.id)

    def _boolop(self, node: ast.BoolOp) -> Value:
        """Work out `and` and `or`: what follows only where it matters to some sample."""
        is_and = isinstance(node.op, ast.And)
        found = self.condition(node.values[0])
        for one in node.values[1:]:
            if self._samples and (not found.any() if is_and else found.all()):
                break
            other = self.condition(one)
            found = found & other if is_and else found | other
        return flag(found)

    def _unaryop(self, node: ast.UnaryOp) -> Value:
        if isinstance(node.op, ast.USub):
            return algebra.negative(self.value(node.operand))
        if isinstance(node.op, ast.UAdd):
            return algebra.calculate("+", 0, self.value(node.operand))
        return flag(~self.condition(node.operand))

    def _binop(self, node: ast.BinOp) -> Value:
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(node.op, ast.BitAnd | ast.BitOr):
            for one, part in ((left, node.left), (right, node.right)):
                if not (isinstance(one, NumberColumn) and one.what == "flag"):
                    raise UsageError(
                        f"{_spelled(part)} beside & or | is no condition: write (a > 1) & (b > 2), "
                        "or a > 1 and b > 2"
                    )
            masks = algebra.truth(left, self._samples), algebra.truth(right, self._samples)
            return flag(
                masks[0] & masks[1] if isinstance(node.op, ast.BitAnd) else masks[0] | masks[1]
            )
        return algebra.calculate(_SIGNS[type(node.op)], left, right)

    def _compare(self, node: ast.Compare) -> Value:
        found = np.ones(self._samples, bool)
        left = self.value(node.left)
        for sign, part in zip(node.ops, node.comparators, strict=True):
            right = self.value(part)
            found &= algebra.truth(self._compared(sign, left, right), self._samples)
            left = right
        return flag(found)

    def _compared(self, sign: ast.cmpop, left: Value, right: Value) -> Value:
        if isinstance(sign, ast.In | ast.NotIn):
            found = algebra.contained(left, right, self._samples)
            return self._turned(found, left, right) if isinstance(sign, ast.NotIn) else found
        if right is None or left is None:
            if not isinstance(sign, ast.Is | ast.IsNot | ast.Eq | ast.NotEq):
                raise UsageError("None is neither more nor less than anything; write `x is None`")
            absent = algebra.is_none(right if left is None else left, self._samples)
            return absent if isinstance(sign, ast.Is | ast.Eq) else flag(~absent.values)
        if isinstance(sign, ast.Is | ast.IsNot):
            raise UsageError("`is` is for None; compare values with == or !=")
        return algebra.compare(_SIGNS[type(sign)], left, right)

    def _turned(self, found: NumberColumn, left: Value, right: Value) -> NumberColumn:
        """Return the opposite, which does not hold either for what is not there."""
        absent = [algebra.is_none(one, self._samples).values for one in (left, right)]
        return flag(~(found.values | absent[0] | absent[1]))

    def _attribute(self, node: ast.Attribute) -> Value:
        return algebra.element(self.value(node.value), [node.attr])

    def _subscript(self, node: ast.Subscript) -> Value:
        at = self.value(node.slice)
        return algebra.element(self.value(node.value), at if isinstance(at, tuple) else [at])

    def _call(self, node: ast.Call) -> Value:
        name, given = _called(node)
        if name == "column":
            return self._columns.column(str(self.value(given[0])))
        first = self.value(given[0])
        if name in _TESTS:
            text, test = str(self.value(given[1])), _TESTS[name]
            return algebra.tested(first, name, lambda one: test(one, text))
        if name in _CHANGES:
            found: Value = algebra.change_text(first, name, _CHANGES[name])
            return found
        return algebra.length(first) if name == "len" else algebra.absolute(first)
