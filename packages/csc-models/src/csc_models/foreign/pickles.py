"""Read pickles as plain data: nothing that they name is imported or called.

`pickletools` takes a stream apart into opcodes, and a machine of ours, which knows lists, dicts and the values of
`known_names`, does what they say. Whatever else a pickle names or calls becomes a `Skipped`, whose name is kept.

Source of the opcodes: https://docs.python.org/3/library/pickletools.html
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

from csc_models.foreign.known_names import KNOWN, Attributes, Buildable, DamagedPickleError, Name, Skipped

# A state dict has about thirty opcodes to a tensor. An opcode may make an object of a hundred bytes.
MOST_OPCODES = 5_000_000

_LITERALS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": list,  # the values of a set need a hash, which tuples in tuples compute without end
}
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}
_GETS = {"GET", "BINGET", "LONG_BINGET"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_KEYS = (str, int, float, bool, bytes, type(None))


@dataclass(slots=True)
class Pickle:
    """What a pickle holds.

    Attributes
    ----------
    value : object
        Numbers, text, lists, tuples, dicts, and what `known_names` makes.
    skipped : dict of str to int
        What it names besides, in the order of the file, and how often.
    """

    value: Any = None
    skipped: dict[str, int] = field(default_factory=dict)


def read_pickle(stream: IO[bytes], persistent: Callable[[Any], Any] | None = None) -> Pickle:
    """Read one pickle from a stream, which stands behind it then.

    Parameters
    ----------
    stream : binary file
        A read of more than there is must not cost memory: as of an `io.BytesIO`.
    persistent : callable, optional
        Makes a value of a persistent id, as torch has them for storages.

    Raises
    ------
    DamagedPickleError
        It cannot be read, or has more than `MOST_OPCODES`.

    Examples
    --------
    >>> import io
    >>> import pickle
    >>> read_pickle(io.BytesIO(pickle.dumps({"epoch": 3, "classes": ["nuc"]}))).value
    {'epoch': 3, 'classes': ['nuc']}
    """
    machine = _Machine(persistent)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count == MOST_OPCODES:
                raise DamagedPickleError(f"it has more than {MOST_OPCODES:,} steps")
            if opcode.name == "STOP":
                return Pickle(machine.pop(), machine.skipped)
            machine.step(opcode.name, argument)
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, MemoryError) as error:
        if isinstance(error, DamagedPickleError):
            raise
        raise DamagedPickleError("its pickle is damaged") from error
    raise DamagedPickleError("its pickle has no end")


class _Machine:
    """Stack, marks and memo; a step per opcode."""

    def __init__(self, persistent: Callable[[Any], Any] | None) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.skipped: dict[str, int] = {}
        self.persistent = persistent

    def step(self, name: str, argument: Any) -> None:
        """Do what an opcode says.

        Raises
        ------
        DamagedPickleError
            For an opcode that no file of weights has.
        """
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _PUTS:
            self.memo[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in _GETS:
            self.stack.append(self.memo[argument])
        elif name in _TUPLES:
            self.stack.append(tuple(self._take(_TUPLES[name])))
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name not in ("PROTO", "FRAME"):
            action = _ACTIONS.get(name)
            if action is None:
                raise DamagedPickleError(f"its pickle has {name}, which no file of weights has")
            action(self, argument)

    def pop(self) -> Any:
        """Take the top of the stack."""
        if self.marks and self.marks[-1] == len(self.stack):
            raise IndexError("a mark, not a value")
        return self.stack.pop()

    def _take(self, count: int) -> list[Any]:
        return [self.pop() for _ in range(count)][::-1]

    def _since_mark(self) -> list[Any]:
        place = self.marks.pop()
        values = self.stack[place:]
        del self.stack[place:]
        return values

    def tuple_(self, _: Any) -> None:
        self.stack.append(tuple(self._since_mark()))

    def list_(self, _: Any) -> None:
        self.stack.append(self._since_mark())

    def dict_(self, _: Any) -> None:
        values = self._since_mark()
        self.stack.append({})
        self._set_items(values)

    def extend(self, _: Any) -> None:
        self._add(self._since_mark())

    def append(self, _: Any) -> None:
        self._add([self.pop()])

    def _add(self, values: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)

    def set_items(self, _: Any) -> None:
        self._set_items(self._since_mark())

    def set_item(self, _: Any) -> None:
        self._set_items(self._take(2))

    def _set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, dict):
            target.update(zip(map(_key, values[::2]), values[1::2], strict=True))

    def drop(self, _: Any) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()

    def drop_to_mark(self, _: Any) -> None:
        self._since_mark()

    def duplicate(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def name(self, argument: str) -> None:
        module, _, attribute = argument.partition(" ")
        self._name(module, attribute)

    def name_on_stack(self, _: Any) -> None:
        module, attribute = self._take(2)
        if not isinstance(module, str) or not isinstance(attribute, str):
            raise TypeError("a name that is not text")
        self._name(module, attribute)

    def _name(self, module: str, attribute: str) -> None:
        found = Name(module, attribute)
        if not found.known:
            self.skipped[str(found)] = self.skipped.get(str(found), 0) + 1
        self.stack.append(found)

    def call(self, _: Any) -> None:
        called, arguments = self._take(2)
        self.stack.append(_made(called, arguments))

    def call_with_names(self, _: Any) -> None:
        called, arguments, _names = self._take(3)
        self.stack.append(_made(called, arguments))

    def instance(self, argument: str) -> None:
        values = self._since_mark()
        self.name(argument)
        self.stack.append(_made(self.pop(), tuple(values)))

    def object_(self, _: Any) -> None:
        called, *values = self._since_mark()
        self.stack.append(_made(called, tuple(values)))

    def build(self, _: Any) -> None:
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, Attributes) and isinstance(state, dict):
            target.update(state)
        elif isinstance(target, Buildable):
            target.build(state)

    def persistent_id(self, argument: Any) -> None:
        self._persistent(argument)

    def persistent_id_on_stack(self, _: Any) -> None:
        self._persistent(self.pop())

    def _persistent(self, identity: Any) -> None:
        if self.persistent is None:
            raise DamagedPickleError("it refers to what stands elsewhere")
        self.stack.append(self.persistent(identity))


_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "TUPLE": _Machine.tuple_,
    "LIST": _Machine.list_,
    "DICT": _Machine.dict_,
    "FROZENSET": _Machine.list_,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.extend,
    "ADDITEMS": _Machine.extend,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "POP": _Machine.drop,
    "POP_MARK": _Machine.drop_to_mark,
    "DUP": _Machine.duplicate,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name_on_stack,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "NEWOBJ_EX": _Machine.call_with_names,
    "INST": _Machine.instance,
    "OBJ": _Machine.object_,
    "BUILD": _Machine.build,
    "PERSID": _Machine.persistent_id,
    "BINPERSID": _Machine.persistent_id_on_stack,
}


def _made(called: Any, arguments: Any) -> Any:
    """What a call gives: of a name that is known, what `KNOWN` makes of it; of all others nothing."""
    make = KNOWN.get((called.module, called.attribute)) if isinstance(called, Name) else None
    if make is None:
        return Skipped(str(called) if isinstance(called, Name) else "a call")
    if not isinstance(arguments, tuple):
        raise TypeError("arguments that are not a tuple")
    return make(*arguments)


def _key(value: Any) -> Any:
    """A key of a dict; what is not a number or a word gets one."""
    return value if isinstance(value, _KEYS) else f"<{type(value).__name__}>"
