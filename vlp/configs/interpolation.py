"""How large a config becomes when its ``${...}`` are filled in, found out before they are.

``a: ${b}${b}``, ``b: ${c}${c}`` and so on make gigabytes of text out of a kilobyte. The size of every node is worked
out once, from the sizes of what it refers to. Nothing is resolved except what stands within another reference
(``${paths.${dataset.name}}``) or in the middle of its path, and that only once its size is known.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, Node, OmegaConf
from omegaconf._utils import _get_value, split_key
from omegaconf.errors import OmegaConfBaseException
from omegaconf.grammar_parser import parse
from omegaconf.grammar_visitor import GrammarVisitor

from vlp.configs.showing import shown
from vlp.configs.trees import DEEPEST, check_tree, checked_size

REFERENCE_DEPTH = 3
"""Levels that following a reference counts as: OmegaConf needs that much more of the stack for it."""

LONGEST_TEXT = 10_000
"""Characters of a text with references in it, and of one that is resolved to find another."""

LONGEST_REASON = 200
"""Characters of OmegaConf's reason that are told; it repeats the text."""

REFUSED_RESOLVERS = frozenset({"oc.create", "oc.decode"})
"""They make new trees and references out of text, whose size nobody can tell before."""

REFERRING_RESOLVERS = frozenset({"oc.select", "oc.deprecated", "oc.dict.keys", "oc.dict.values"})
"""Their first argument is a reference."""

RESOLVED_SIZE = 1_000
"""What a resolver's answer is counted as: a time, a name, a variable of the environment."""

SECRET = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL)S?(_|$)", re.IGNORECASE)
"""Variables of the environment that no config may read: configs are saved and logged."""


def check_interpolations(config: Mapping[str, Any] | DictConfig) -> None:
    """Check what the interpolations of an unresolved config would make of it.

    References that lead nowhere are left to whoever resolves them.

    Raises:
        ValueError: naming the key, if the config would become too large, goes too deep, refers to itself, reads a
            secret from the environment, calls a resolver that is refused, or holds no proper reference.
    """
    sizes = _Sizes()
    try:
        if not isinstance(config, DictConfig):
            check_tree(config, "config")
            config = OmegaConf.create(dict(config))
        sizes.of(config, 0)
    except (OmegaConfBaseException, RecursionError) as error:
        key = next(reversed(sizes.open.values()), "config")
        why = "too many references within each other" if isinstance(error, RecursionError) else str(error)
        raise ValueError(f"{key}: {why.partition(chr(10))[0][:LONGEST_REASON]}") from error


class _Sizes:
    """Sizes of a config's nodes once resolved: entries plus characters."""

    def __init__(self) -> None:
        self.known: dict[int, int] = {}
        self.open: dict[int, str] = {}

    def of(self, node: Node, depth: int) -> int:
        """Return the size of ``node``."""
        if id(node) in self.known:
            return self.known[id(node)]
        key = str(node._get_full_key(None)) or "the top"
        if id(node) in self.open:
            path = list(self.open.values())[list(self.open).index(id(node)) :]
            raise ValueError(f"{key} refers to itself: {' -> '.join([*path[:8], key])}")
        if depth > DEEPEST:
            raise ValueError(f"{key}: nested, or referred to, deeper than {DEEPEST} levels")
        self.open[id(node)] = key
        self.known[id(node)] = self._size(node, key, depth)
        del self.open[id(node)]
        return self.known[id(node)]

    def _size(self, node: Node, key: str, depth: int) -> int:
        if node._is_interpolation():
            return _Reader(self, node, key, depth).size(str(node._value()))
        if not isinstance(node, DictConfig | ListConfig) or node._is_none() or node._is_missing():
            return 1 + len(str(node._value()))
        size = 1
        for name in range(len(node)) if isinstance(node, ListConfig) else list(node.keys()):
            child: Any = node._get_node(name)  # type: ignore[arg-type]
            size = checked_size(size + len(str(name)) + self.of(child, depth + 1), key)
        return size


class _Reader(GrammarVisitor):
    """Reads a text with references, and adds up what they refer to.

    Args:
        sizes: of the config's nodes.
        node: whose text it is; references are relative to its parent.
        key: of the node, for errors.
        depth: of the node.
    """

    def __init__(self, sizes: _Sizes, node: Node, key: str, depth: int) -> None:
        super().__init__(self._refer, self._call, memo=None)
        self.sizes, self.parent, self.key, self.depth = (
            sizes,
            node._get_parent_container(),
            key,
            depth + REFERENCE_DEPTH,
        )
        self.total = 0
        self.is_name = 0

    def size(self, text: str) -> int:
        """Return the size that ``text`` has when its references are filled in."""
        if len(text) > LONGEST_TEXT:
            raise ValueError(f"{self.key}: {len(text):,} characters with references; expected at most {LONGEST_TEXT:,}")
        self.total = 1 + len(text)
        self.visit(parse(text))
        return self.total

    def visitConfigKey(self, ctx: Any) -> str:  # noqa: N802 (the grammar's name)
        """Read part of a path, for which references within it are resolved."""
        self.is_name += 1
        try:
            return super().visitConfigKey(ctx)
        finally:
            self.is_name -= 1

    def visitInterpolationResolver(self, ctx: Any) -> Any:  # noqa: N802
        """Read a call, for which references in name and arguments are resolved."""
        self.is_name += 1
        try:
            return super().visitInterpolationResolver(ctx)
        finally:
            self.is_name -= 1

    def _refer(self, path: str, memo: Any = None) -> Any:
        """Count what ``path`` leads to; return its text where a name is made of it, nothing elsewhere."""
        found = self._find(path)
        if found is None:
            return ""
        self._count(self.sizes.of(found, self.depth))
        return self._text(found) if self.is_name else ""

    def _call(self, name: str, args: tuple[Any, ...], args_str: tuple[str, ...]) -> str:
        """Count what a resolver may answer."""
        first = str(args[0]) if args else ""
        if name in REFUSED_RESOLVERS:
            raise ValueError(f"{self.key}: the resolver {name} is refused, since it makes configs out of text")
        if name == "oc.env" and SECRET.search(first):
            raise ValueError(f"{self.key} would write {shown(first)} into a config, which is saved and logged")
        self._count(RESOLVED_SIZE + (len(os.environ.get(first, "")) if name == "oc.env" else 0))
        return self._refer(first) if name in REFERRING_RESOLVERS else ""

    def _count(self, size: int) -> None:
        self.total = checked_size(self.total + size, self.key)

    def _find(self, path: str) -> Node | None:
        """Return the node at ``path``, None where there is none."""
        if self.parent is None:
            return None
        container, path = self.parent._resolve_key_and_root(path)
        found: Any = container
        for part in split_key(path):
            if isinstance(found, Node) and found._is_interpolation():
                self.sizes.of(found, self.depth)  # before it is followed
                found = found._maybe_dereference_node()
            found = _child(found, part)
        return found if isinstance(found, Node) else None

    def _text(self, node: Node) -> str:
        """Return a node's value, resolved, as part of a name."""
        if self.sizes.of(node, self.depth) > LONGEST_TEXT:
            raise ValueError(f"{self.key} makes a name of over {LONGEST_TEXT:,} characters")
        return str(_get_value(node._maybe_dereference_node()))


def _child(container: Any, part: str) -> Any:
    if isinstance(container, ListConfig):
        is_there = part.isdecimal() and int(part) < len(container)
        return container._get_node(int(part)) if is_there else None
    if not isinstance(container, DictConfig) or container._is_none() or container._is_missing():
        return None
    return container._get_node(part, validate_access=False)
