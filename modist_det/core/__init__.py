"""The config tree, and the declaration of config sections."""

from .limits import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, Limit, ListOf
from .node import CONFIG_VERSION, CfgNode, default_config
from .sections import Key, add_section

__all__ = [
    "CONFIG_VERSION",
    "COUNT",
    "NOT_NEGATIVE",
    "POSITIVE",
    "SHARE",
    "CfgNode",
    "Key",
    "Limit",
    "ListOf",
    "add_section",
    "default_config",
]
