"""A dataset, a model and weights, opened as a probe would open them, and compared with each other."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vlp.commands.plans import Weights
from vlp.commands.probe import check_features, kind_of, needs_of, probe_factory
from vlp.commands.reading import require_image
from vlp.commands.weights import find_weights, is_trained
from vlp.configs.showing import shown
from vlp.data.dataset import VLDataset, build_dataset, require
from vlp.data.tokenisation import open_tokenizer
from vlp.doctor.features import examine_features
from vlp.doctor.findings import FAILED, NOTE, OK, Finding, guarded
from vlp.doctor.heads import SUSPICIOUS, examine_heads
from vlp.durable.digests import check_digest
from vlp.models import VLEncoder, build_from_config, load_weights
from vlp.models.checkpoints import vlp
from vlp.models.checkpoints.files import Contents, read_contents, weights_file
from vlp.models.checkpoints.loading import convert, feature_width
from vlp.models.checkpoints.published import differences, resembling
from vlp.models.export import read_encoder

Config = Mapping[str, Any]

MODEL_KEYS = frozenset({"model", "size", "tokenizer", "weights"})
NAMES_SHOWN = 5


@dataclass
class Patient:
    """What has been opened of what a config describes.

    Args:
        config: a resolved ``conf/probe.yaml``.
        asked: the top-level keys that the user gave.
        dataset: None where it could not be opened.
        weights: None where they could not be found.
        record: what the weights say of themselves.
        feature_width: of the regions that the weights read; None where they read none, or it is not known.
        is_public: whether the weights are in somebody else's format, which says itself what model they are of.
    """

    config: Config
    asked: Collection[str]
    dataset: VLDataset | None = None
    weights: Weights | None = None
    record: dict[str, Any] = field(default_factory=dict)
    feature_width: int | None = None
    is_public: bool = False


def examine_subjects(config: Config, asked: Collection[str]) -> list[Finding]:
    """Return what there is to say of what was asked for; inside an initialised Hydra, which composes recipes.

    Args:
        config: a resolved ``conf/probe.yaml``.
        asked: the top-level keys that the user gave.
    """
    patient = Patient(config, asked)
    name, model = config["dataset"]["name"], config["model"]["name"]
    findings = guarded(f"dataset {name}", "see README, or give dataset.root=DIR", partial(examine_dataset, patient))
    if "weights" in asked:
        findings += guarded("weights", "give weights=PATH, recipe:NAME or random", partial(examine_weights, patient))
    if patient.is_public and not {"model", "size"} & set(asked):
        findings += guarded("loading", "give model= and size=", partial(examine_as_published, patient))
    elif MODEL_KEYS & set(asked):
        findings += guarded(f"model {model}", "compare model=, size= and tokenizer=", partial(examine_model, patient))
        findings += guarded("device", "trainer=cpu leaves the accelerator out", _devices)
    return findings


def examine_dataset(patient: Patient) -> Iterator[Finding]:
    """Yield what the dataset has, reading one sample, and whether it has what a probe that was asked for needs."""
    config = patient.config["dataset"]
    dataset = build_dataset(config)
    subject = f"dataset {dataset.name}"
    has = ", ".join(sorted(dataset.annotations)) or "no annotations"
    yield Finding(OK, subject, f"{len(dataset):,} samples in split {dataset.split}, with {has}")
    caption, regions = dataset[0].caption, dataset[0].regions
    told = "no regions" if regions is None else f"{len(regions.boxes)} regions of width {dataset.feature_width}"
    yield Finding(OK, "its first sample", f"{shown(caption)}, {told}")
    patient.dataset = dataset
    if "probe" in patient.asked:
        needs = patient.config["probe"].get("needs", [])
        require(dataset, needs, probe_name(patient.config))
        if needs:
            yield Finding(OK, "probe", f"needs {', '.join(needs)}, which {dataset.name} has")


def probe_name(config: Config) -> str:
    """Return what a probe is called in findings."""
    return str(config["probe"]["_target_"]).rpartition(".")[2]


def examine_weights(patient: Patient) -> Iterator[Finding]:
    """Yield where the weights come from, whether their file is what was written, and what they say of themselves."""
    weights = find_weights(patient.config, "python -m vlp.doctor")
    if weights.path is None:
        yield Finding(OK, "weights", "random, so there is nothing to load")
        return
    if weights.training is not None and not is_trained(weights.training):
        steps, expected = weights.training.config["trainer"]["max_steps"], weights.training.config.get("expected_time")
        cost = f"{steps} steps{f', {expected}' if expected else ''}"
        yield Finding(
            NOTE,
            "weights",
            f"recipe:{weights.name}, not trained yet ({cost})",
            f"the first probe trains it, into {weights.training.run_dir}",
        )
        return
    file = weights_file(Path(weights.path))
    patient.weights = weights
    yield from _file(file, None if weights.training else weights.content)
    contents = read_contents(file)
    patient.record = contents.record or {}
    yield from _record(patient.record)
    if contents.record is None:
        yield from _published(patient, contents)


def _file(file: Path, sha256: str | None) -> Iterator[Finding]:
    digest = f", sha256 {sha256}" if sha256 else ""
    yield Finding(OK, "weights", f"{file}, {file.stat().st_size / 1024**2:.1f} MiB{digest}")
    if check_digest(file):
        yield Finding(OK, "their sidecar", "the file is what was written")
    else:
        name = f"{file.name}.sha256"
        yield Finding(NOTE, "their sidecar", f"there is no {name}, so damage would show only in use", _sidecar(file))


def _sidecar(file: Path) -> str:
    return f"if you trust the file: sha256sum {file.name} > {file.name}.sha256"


def _published(patient: Patient, contents: Contents) -> Iterator[Finding]:
    """Yield which public checkpoint the file may be, and whether it holds what that one should."""
    try:
        conversion = convert(contents)
    except ValueError:  # told where it is loaded
        return
    patient.feature_width = feature_width(conversion.tensors)
    patient.is_public = conversion.source != vlp.SOURCE
    rows = resembling(contents, conversion)
    if not rows:
        how = "vlp/models/checkpoints/published.yaml lists those that we know"
        yield Finding(NOTE, "published as", f"none that we know of format {conversion.source}", how)
    for row in rows:
        found = tuple(differences(row, contents, conversion))
        told = f"{' or '.join(row.names)} of {row.page}, {row.licence}, trained on {row.features}"
        doubt = "" if row.verified else f"; known from its documents alone, {row.checked}: no such file was opened"
        if found:
            yield Finding(FAILED, "published as", f"{told}: but {', '.join(found)}", f"another file? fetch {row.where}")
        else:
            yield Finding(
                OK if row.verified else NOTE, "published as", told + doubt, f"tokenizer={row.tokenizer or 'null'}"
            )
        if row.dead:
            yield Finding(
                NOTE, "its address", f"{row.where} is dead ({row.dead_says})", f"keep your copy; {row.instead}"
            )


def examine_as_published(patient: Patient) -> Iterator[Finding]:
    """Yield whether weights in somebody else's format load into the model that they are of."""
    assert patient.weights is not None
    contents = read_contents(Path(str(patient.weights.path)))
    conversion = convert(contents)
    if conversion.part:
        how = f"load_weights(model, path, part={conversion.part!r})"
        yield Finding(OK, "loading", f"{conversion.description}: {len(conversion.tensors)} weights of a parser", how)
        return
    encoder, record = read_encoder(contents.path)
    left = f"{len(conversion.heads)} weights of heads, {len(conversion.left_out)} left out"
    given = f"{conversion.asked} size={record['size']}"
    behaviour = ", which does as its released code does" if encoder.released_behaviour else ""
    told = f"{given}{behaviour}, format {conversion.source}: 0 missing, 0 unexpected; {left}"
    yield Finding(OK, "loading", told, f"give {given}")


def _record(record: Mapping[str, Any]) -> Iterator[Finding]:
    if not record:
        how = "take the features its publisher names: no error tells wrong ones"
        yield Finding(NOTE, "their record", "none, as in all weights that are not of train.py", how)
        return
    told = {"model": (record.get("model") or {}).get("name"), **{key: record.get(key) for key in ("size", "dataset")}}
    yield Finding(OK, "their record", ", ".join(f"{key}={value}" for key, value in told.items()))


def examine_model(patient: Patient) -> Iterator[Finding]:
    """Yield what the model is, how weights that were found fit it and the dataset, and whether their heads behave."""
    config, dataset = patient.config, patient.dataset
    own = config.get("tokenizer")
    tokenizer = open_tokenizer(own or patient.record.get("tokenizer"), is_asked=bool(own))
    width = None if dataset is None else dataset.feature_width
    encoder, control = (build_from_config(config["model"], width, tokenizer.vocab_size) for _ in range(2))
    count = sum(parameter.numel() for parameter in encoder.parameters())
    shape = f"width {encoder.width}, vocabulary {encoder.vocab_size:,}, features {encoder.feature_width}"
    yield Finding(OK, f"model {encoder.name}", f"size {config['size']['name']}, {count:,} parameters, {shape}")
    if "probe" in patient.asked:
        factory = probe_factory(config)
        kind_of(factory).check_encoder(encoder, needs_of(factory), probe_name(config))
    if dataset is not None:
        require_image(dataset, encoder)
        yield Finding(OK, "what it reads", f"{encoder.reads}, which {dataset.name} has")
    if patient.weights is None:
        return
    yield _tokenizer(patient.record, tokenizer.vocab_size)
    if dataset is not None:
        if encoder.reads == "regions" and (fault := _other_width(patient, dataset)):
            yield fault
            return
        _check_names(patient.record, dataset, patient.weights)
        if encoder.reads == "regions":
            yield examine_features(patient.record, dataset)
    fit = _fit(encoder, str(patient.weights.path))
    control.follow(encoder.released_behaviour)
    yield fit
    if fit.state == OK and dataset is not None:
        behaviour = partial(examine_heads, encoder, control, Path(str(patient.weights.path)), dataset, tokenizer)
        yield from guarded("behaviour", SUSPICIOUS, behaviour)


def _tokenizer(record: Mapping[str, Any], size: int) -> Finding:
    trained = record.get("vocab_size")
    if trained is None:
        return Finding(NOTE, "tokenizer", f"{size:,} pieces; the weights do not say theirs", "tokenizer=NAME, or DIR")
    if trained != size:
        found = f"{size:,} pieces, the weights were trained with {trained:,}"
        return Finding(FAILED, "tokenizer", found, f"tokenizer={record.get('tokenizer') or 'null'}, as they record it")
    return Finding(OK, "tokenizer", f"{size:,} pieces, as in training")


def _other_width(patient: Patient, dataset: VLDataset) -> Finding | None:
    """Return a finding where the features of the dataset are not as wide as those that the weights read."""
    width = patient.feature_width
    if None in (width, dataset.feature_width) or width == dataset.feature_width:
        return None
    given = f"those of the weights are {width} wide, those of dataset {dataset.name} {dataset.feature_width}"
    how = f"give a dataset= with the {width} wide features of the extractor that the weights were trained on"
    return Finding(FAILED, "features", f"features do not match weights: {given}", how)


def _check_names(record: Mapping[str, Any], dataset: VLDataset, weights: Weights) -> None:
    try:
        check_features(record, dataset, weights)
    except ValueError as error:
        raise ValueError(f"features do not match weights: {error}") from error


def _fit(encoder: VLEncoder, path: str) -> Finding:
    report = load_weights(encoder, path, strict=False)
    found = f"format {report.source}: {_listed('missing', report.missing)}, {_listed('unexpected', report.unexpected)}"
    if report.missing or report.unexpected:
        return Finding(FAILED, "loading", found, "is it this model, of this size? a probe refuses them")
    return Finding(OK, "loading", found)


def _listed(word: str, names: Collection[str]) -> str:
    few = ", ".join(list(names)[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")
    return f"{len(names)} {word}" + (f" ({few})" if few else "")


def _devices() -> Iterator[Finding]:
    """Yield the accelerator that torch finds, and how many threads it takes."""
    threads = f"{torch.get_num_threads()} threads"
    if not torch.cuda.is_available():
        yield Finding(OK, "device", f"processor, {threads}")
        return
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    yield Finding(OK, "device", f"{', '.join(names)}; {threads}")
