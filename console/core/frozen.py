"""`@frozen` and `@slotted`: frozen and other dataclasses with slots, at a tenth of what they cost.

The standard decorator compiles six methods for each class, 0.8 ms in all, and a command needs some
fifty classes before it can say a word. Here five of them are shared, and `__init__` is compiled
for classes with many records only. What `fields`, `replace` and `asdict` ask for is worked out when
they do. Most commands make a handful of the records they know.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field
from operator import attrgetter
from typing import Any, NoReturn, TypeVar, dataclass_transform

_T = TypeVar("_T")
FEW = 20
"""Records of a class until its `__init__` is compiled, which takes as long as making forty.

Who does not know how many will come loses least by waiting about as long as compiling takes.
"""


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[_T]) -> type[_T]:
    """Make a class a record: immutable, with slots, equal and hashed by its fields."""
    return _made_of(cls, _SHARED, {"_left": FEW})


def replace(record: _T, /, **changes: Any) -> _T:
    """The record anew, with other values for some of its fields: as `dataclasses.replace`.

    That one would first have all fields of the class worked out. Raises TypeError.
    """
    made: Any = type(record)
    return made(**{name: getattr(record, name) for name in made._defaults} | changes)  # type: ignore[no-any-return]


@dataclass_transform(eq_default=False, field_specifiers=(field,))
def slotted(cls: type[_T]) -> type[_T]:
    """Give a class slots and an `__init__` for its annotations, as `@dataclass(slots=True)` does.

    It can be changed, and is equal to itself alone.
    """
    return _made_of(cls, {"__init__": _begin}, {})


def _made_of(cls: type[_T], shared: dict[str, Any], more: dict[str, Any]) -> type[_T]:
    """The class anew: what it has itself goes before what all share."""
    space = {name: one for name, one in vars(cls).items() if name not in _OF_INSTANCES}
    own = {name: space.pop(name, MISSING) for name in space.get("__annotations__", ())}
    known = getattr(cls, "_defaults", {}) | own
    kind: Any = type(cls)
    made: Any = kind(
        cls.__name__,
        cls.__bases__,
        {
            **shared,
            **space,
            **more,
            "__slots__": tuple(own),
            "__match_args__": tuple(known),
            "__dataclass_fields__": _Fields(),
            "_defaults": known,
            "_values": attrgetter(*known),
        },
    )
    made.__qualname__ = cls.__qualname__
    return made  # type: ignore[no-any-return]


class _Fields:
    """What `dataclasses` keeps of a class, in whose place it puts itself when it is asked for."""

    def __get__(self, _: object, made: Any) -> dict[str, Field[Any]]:
        kin = [vars(one).get("__annotations__", {}) for one in reversed(made.__mro__)]
        given = {name: one for name, one in made._defaults.items() if one is not MISSING}
        types = {name: one for known in kin for name, one in known.items()}
        space = {"__annotations__": types, "__doc__": made.__name__, **given}
        plain: Any = dataclass(init=False, repr=False, eq=False)(type(made.__name__, (), space))
        made.__dataclass_fields__ = plain.__dataclass_fields__
        return made.__dataclass_fields__  # type: ignore[no-any-return]


def _few(self: Any, *values: Any, **named: Any) -> None:
    """The `__init__` of a class of which there are few records; what is wrong says the other."""
    made = type(self)
    made._left -= 1
    given = {**dict(zip(made._defaults, values, strict=False)), **named}
    whole = {**made._defaults, **given}
    right = len(given) == len(values) + len(named) and len(whole) == len(made._defaults)
    if made._left and right and not any(one is MISSING for one in whole.values()):
        for name, value in whole.items():
            object.__setattr__(self, name, _made(value) if isinstance(value, Field) else value)
    else:
        made.__init__ = _init(made)
        made.__init__(self, *values, **named)


def _begin(self: Any, *values: Any, **named: Any) -> None:
    """The `__init__` of a class of which a process has one, or a few."""
    defaults = self._defaults
    takes = [k for k, one in defaults.items() if not isinstance(one, Field) or one.init]
    given = {**dict(zip(takes, values, strict=False)), **named}
    whole = {**defaults, **given}
    right = len(given) == len(values) + len(named) and given.keys() <= set(takes)
    if not right or any(whole[name] is MISSING for name in takes):
        raise TypeError(f"{type(self).__name__} takes {', '.join(takes)}")
    for name, one in whole.items():
        value = _made(one) if isinstance(one, Field) else one
        if value is not MISSING:  # else `__post_init__` says it
            setattr(self, name, value)
    if after := getattr(self, "__post_init__", None):
        after()


def _made(default: Field[Any]) -> Any:
    """The default that `field` stands for."""
    made = default.default_factory
    return default.default if made is MISSING else made()


def _init(made: Any) -> Any:
    """A class's own `__init__`; what it names with an underscore are defaults."""
    known: dict[str, Any] = {"_set": object.__setattr__, "_MISSING": MISSING}
    takes, does = ["self"], []
    for name, default in made._defaults.items():
        takes.append(name if default is MISSING else f"{name}=_{name}")
        known[f"_{name}"], value = default, name
        if isinstance(default, Field) and default.default_factory is not MISSING:
            known[f"_{name}"] = default.default_factory
            takes[-1], value = f"{name}=_MISSING", f"_{name}() if {name} is _MISSING else {name}"
        elif isinstance(default, Field):
            known[f"_{name}"] = default.default
        does.append(f"    _set(self, {name!r}, {value})")
    exec(f"def __init__({', '.join(takes)}):\n" + "\n".join(does), known)
    return known["__init__"]


def _repr(self: Any) -> str:
    shown = (f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _equals(self: Any, other: Any) -> Any:
    if type(self) is not type(other):
        return NotImplemented
    return self._values(self) == self._values(other)


def _hash(self: Any) -> int:
    return hash(self._values(self))


def _refuse(self: object, name: str, value: object = None) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


_SHARED = {
    "__init__": _few,
    "__repr__": _repr,
    "__eq__": _equals,
    "__hash__": _hash,
    "__setattr__": _refuse,
    "__delattr__": _refuse,
}
_OF_INSTANCES = {"__dict__", "__weakref__"}
"""What a class has for its instances' sake: those with slots have none of it."""
