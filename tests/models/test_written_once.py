"""The transformer is written once: projections and attention in `vlp.models.blocks`, layers in `vlp.models.stacks`."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(ROOT.glob("vlp/**/*.py"))
    if "conf" not in path.parts
}
PROJECTIONS = {"query", "key", "value", "qkv", "q_proj", "k_proj", "v_proj", "in_proj_weight"}
ATTENTION = {"scaled_dot_product_attention", "multi_head_attention_forward", "flex_attention"}
BATCHED_PRODUCTS = {"baddbmm", "bmm"}
READY_MADE = {"MultiheadAttention", "TransformerEncoder", "TransformerEncoderLayer"}
BLOCKS, STACKS = "vlp/models/blocks.py", "vlp/models/stacks.py"


def called(call: ast.Call) -> str:
    """The last part of the name of what is called."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def calls(tree: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def files_that_call(names: set[str]) -> set[str]:
    return {file for file, tree in SOURCES.items() if any(called(call) in names for call in calls(tree))}


def projections(tree: ast.Module) -> set[str]:
    """Names of queries, keys and values that a module makes of layers or parameters."""
    return {
        target.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        for target in node.targets
        if isinstance(target, ast.Attribute)
        and target.attr in PROJECTIONS
        and called(node.value) in {"Linear", "Parameter", "Conv1d", "Conv2d"}
    }


def test_queries_keys_and_values_are_projected_in_one_module():
    found = {file: projections(tree) for file, tree in SOURCES.items()}
    assert {file: names for file, names in found.items() if names} == {BLOCKS: {"query", "key", "value"}}


def test_attention_is_called_in_one_module():
    assert files_that_call(ATTENTION) == {BLOCKS}
    assert {file for file in files_that_call(BATCHED_PRODUCTS) if file.startswith("vlp/models/")} == {BLOCKS}
    assert files_that_call(READY_MADE) == set()


def test_only_stacks_put_blocks_together():
    assert files_that_call({"Attention", "FeedForward"}) == {STACKS}


def test_an_architecture_s_file_holds_no_layer_of_a_transformer():
    for file, tree in SOURCES.items():
        if file.startswith("vlp/models/embeddings/"):
            imported = {
                node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module is not None
            }
            assert STACKS.removesuffix(".py").replace("/", ".") not in imported, file
