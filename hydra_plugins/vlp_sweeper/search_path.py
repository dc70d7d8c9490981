"""Where options are looked for besides ``conf/``: the user's own folder, and what installed plug-ins add."""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from vlp.configs import plugin_packages, user_folder


class PluginSearchPath(SearchPathPlugin):
    """Adds the user's configuration folder and the packages of the entry-point group ``vlp.plugins``.

    ``conf/`` stands before them, so they add options and replace none.
    """

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append to the search path."""
        if user_folder().is_dir():
            search_path.append("vlp-user", f"file://{user_folder()}")
        for package in plugin_packages():
            search_path.append("vlp-plugin", f"pkg://{package}")
