"""Dataclass decorators `@frozen` and `@slotted`, with slots, at a tenth of the standard cost.

The standard decorator compiles six methods for each class (0.8 ms in all), and a command needs some
fifty classes before it can print anything. Here, five of them are shared, and `__init__` is
compiled only for classes with many instances. The data for `fields` and `asdict` is built on first
use. Most commands create a handful of instances of the classes that they import.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field
from operator import attrgetter
from typing import Any, NoReturn, TypeVar, dataclass_transform

_T = TypeVar("_T")
RECORDS_BEFORE_COMPILING = 20
"""Instances of a class until its `__init__` is compiled.

Compiling takes as long as creating forty instances. If the number of future instances is unknown,
waiting about as long as compiling takes costs least.
"""


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[_T]) -> type[_T]:
    """Make a class immutable, with slots; instances are equal and hashed by their fields."""
    return _build_class(cls, _SHARED_METHODS, {"_left": RECORDS_BEFORE_COMPILING})


def replace(record: _T, /, **changes: Any) -> _T:
    """Return a copy of `record` with some fields changed, as `dataclasses.replace` does.

    The standard function would first build the `Field` objects of the class. Raises TypeError.
    """
    cls: Any = type(record)
    return cls(**{name: getattr(record, name) for name in cls._defaults} | changes)  # type: ignore[no-any-return]


@dataclass_transform(eq_default=False, field_specifiers=(field,))
def slotted(cls: type[_T]) -> type[_T]:
    """Give a class slots and an `__init__` for its annotations, as `@dataclass(slots=True)` does.

    Its instances are mutable and compared by identity.
    """
    return _build_class(cls, {"__init__": _init_slotted}, {})


def _build_class(cls: type[_T], shared: dict[str, Any], extra: dict[str, Any]) -> type[_T]:
    """Return a new class with slots; the attributes of `cls` take precedence over `shared`."""
    namespace = {
        name: value for name, value in vars(cls).items() if name not in _INSTANCE_ATTRIBUTES
    }
    own_defaults = {
        name: namespace.pop(name, MISSING) for name in namespace.get("__annotations__", ())
    }
    defaults = getattr(cls, "_defaults", {}) | own_defaults
    metaclass: Any = type(cls)
    new_class: Any = metaclass(
        cls.__name__,
        cls.__bases__,
        {
            **shared,
            **namespace,
            **extra,
            "__slots__": tuple(own_defaults),
            "__match_args__": tuple(defaults),
            "__dataclass_fields__": _LazyFields(),
            "_defaults": defaults,
            "_values": attrgetter(*defaults),
        },
    )
    new_class.__qualname__ = cls.__qualname__
    return new_class  # type: ignore[no-any-return]


class _LazyFields:
    """Descriptor of `__dataclass_fields__`: builds the fields on first access, replaces itself."""

    def __get__(self, _: object, made: Any) -> dict[str, Field[Any]]:
        class_annotations = [
            vars(item).get("__annotations__", {}) for item in reversed(made.__mro__)
        ]
        defaults = {name: item for name, item in made._defaults.items() if item is not MISSING}
        types = {
            name: item for annotations in class_annotations for name, item in annotations.items()
        }
        space = {"__annotations__": types, "__doc__": made.__name__, **defaults}
        plain: Any = dataclass(init=False, repr=False, eq=False)(type(made.__name__, (), space))
        made.__dataclass_fields__ = plain.__dataclass_fields__
        return made.__dataclass_fields__  # type: ignore[no-any-return]


def _init_uncompiled(self: Any, *values: Any, **named: Any) -> None:
    """Set the fields without a compiled `__init__`, for a class with few instances.

    Wrong arguments are passed to the compiled `__init__`, which raises the TypeError.
    """
    cls = type(self)
    cls._left -= 1
    arguments = {**dict(zip(cls._defaults, values, strict=False)), **named}
    values_by_name = {**cls._defaults, **arguments}
    is_complete = len(arguments) == len(values) + len(named) and len(values_by_name) == len(
        cls._defaults
    )
    if cls._left and is_complete and not any(item is MISSING for item in values_by_name.values()):
        for name, value in values_by_name.items():
            object.__setattr__(
                self, name, _default_value(value) if isinstance(value, Field) else value
            )
    else:
        cls.__init__ = _compile_init(cls)
        cls.__init__(self, *values, **named)


def _init_slotted(self: Any, *values: Any, **named: Any) -> None:
    """Set the fields of a `@slotted` instance, then call `__post_init__`. Raises TypeError.

    It is never compiled: a process has one or a few instances of such a class.
    """
    defaults = self._defaults
    parameters = [
        k for k, default in defaults.items() if not isinstance(default, Field) or default.init
    ]
    arguments = {**dict(zip(parameters, values, strict=False)), **named}
    values_by_name = {**defaults, **arguments}
    is_valid = len(arguments) == len(values) + len(named) and arguments.keys() <= set(parameters)
    if not is_valid or any(values_by_name[name] is MISSING for name in parameters):
        raise TypeError(f"{type(self).__name__} takes {', '.join(parameters)}")
    for name, default in values_by_name.items():
        value = _default_value(default) if isinstance(default, Field) else default
        if value is not MISSING:  # else `__post_init__` sets it
            setattr(self, name, value)
    if post_init := getattr(self, "__post_init__", None):
        post_init()


def _default_value(default: Field[Any]) -> Any:
    """Return the default value that `field()` describes; MISSING if there is none."""
    factory = default.default_factory
    return default.default if factory is MISSING else factory()


def _compile_init(made: Any) -> Any:
    """Return a compiled `__init__`; names with an underscore in its code are the defaults."""
    namespace: dict[str, Any] = {"_set": object.__setattr__, "_MISSING": MISSING}
    parameters, body = ["self"], []
    for name, default in made._defaults.items():
        parameters.append(name if default is MISSING else f"{name}=_{name}")
        namespace[f"_{name}"], value = default, name
        if isinstance(default, Field) and default.default_factory is not MISSING:
            namespace[f"_{name}"] = default.default_factory
            parameters[-1], value = (
                f"{name}=_MISSING",
                f"_{name}() if {name} is _MISSING else {name}",
            )
        elif isinstance(default, Field):
            namespace[f"_{name}"] = default.default
        body.append(f"    _set(self, {name!r}, {value})")
    exec(f"def __init__({', '.join(parameters)}):\n" + "\n".join(body), namespace)
    return namespace["__init__"]


def _repr(self: Any) -> str:
    parts = (f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
    return f"{type(self).__qualname__}({', '.join(parts)})"


def _equals(self: Any, other: Any) -> Any:
    if type(self) is not type(other):
        return NotImplemented
    return self._values(self) == self._values(other)


def _hash(self: Any) -> int:
    return hash(self._values(self))


def _refuse_assignment(self: object, name: str, value: object = None) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


_SHARED_METHODS = {
    "__init__": _init_uncompiled,
    "__repr__": _repr,
    "__eq__": _equals,
    "__hash__": _hash,
    "__setattr__": _refuse_assignment,
    "__delattr__": _refuse_assignment,
}
_INSTANCE_ATTRIBUTES = {"__dict__", "__weakref__"}
"""Attributes that a class has for its instances; classes with slots have none of them."""
