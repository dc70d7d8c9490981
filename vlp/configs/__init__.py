"""Configs as plain data: finding an option's YAML, checking what it may call, building what it describes."""

from vlp.configs.building import instantiate
from vlp.configs.interpolation import check_interpolations
from vlp.configs.options import digest, option_names, read_option, resolve, user_folder
from vlp.configs.spelling import did_you_mean
from vlp.configs.targets import check_targets, plugin_packages, trust_folder, trusted_folders
from vlp.configs.trees import dotted

__all__ = [
    "check_interpolations",
    "check_targets",
    "did_you_mean",
    "digest",
    "dotted",
    "instantiate",
    "option_names",
    "plugin_packages",
    "read_option",
    "resolve",
    "trust_folder",
    "trusted_folders",
    "user_folder",
]
