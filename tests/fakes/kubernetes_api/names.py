"""What names, label keys and label values may look like, with the server's own words for what is wrong."""

from __future__ import annotations

import re
from functools import lru_cache

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_NAME = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_VARIABLE = "[-._a-zA-Z][-._a-zA-Z0-9]*"
_KEY = "[-._a-zA-Z0-9]+"


def _regex(text: str, examples: str, form: str) -> str:
    return f"{text} ({examples}, regex used for validation is '{form}')"


SUBDOMAIN = _regex(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character", "e.g. 'example.com'", _SUBDOMAIN,
)  # fmt: skip
DNS_LABEL = _regex(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character", "e.g. 'my-name',  or '123-abc'", _LABEL,
)  # fmt: skip
QUALIFIED = _regex(
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character", "e.g. 'MyName',  or 'my.name',  or '123-abc'", _NAME,
)  # fmt: skip
LABEL_VALUE = _regex(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character", "e.g. 'MyValue',  or 'my_value',  or '12345'", _VALUE,
)  # fmt: skip
VARIABLE = _regex(
    "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not "
    "start with a digit", "e.g. 'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1'", _VARIABLE,
)  # fmt: skip
CONFIG_KEY = _regex(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    "e.g. 'key.name',  or 'KEY_NAME',  or 'key-name'", _KEY,
)  # fmt: skip


def _long(most: int) -> str:
    return f"must be no more than {most} characters"


@lru_cache(maxsize=4096)
def subdomain_faults(name: str) -> list[str]:
    return [*([_long(253)] if len(name) > 253 else []), *([] if re.fullmatch(_SUBDOMAIN, name) else [SUBDOMAIN])]


@lru_cache(maxsize=4096)
def dns_label_faults(name: str) -> list[str]:
    return [*([_long(63)] if len(name) > 63 else []), *([] if re.fullmatch(_LABEL, name) else [DNS_LABEL])]


@lru_cache(maxsize=4096)
def label_key_faults(key: str) -> list[str]:
    prefix, slash, name = key.rpartition("/")
    faults = []
    if slash:
        if not prefix:
            faults.append("prefix part must be non-empty")
        faults += [f"prefix part {fault}" for fault in (subdomain_faults(prefix) if prefix else [])]
    if not name:
        faults.append("name part must be non-empty")
    elif len(name) > 63:
        faults.append(f"name part {_long(63)}")
    if not re.fullmatch(_NAME, name):
        faults.append(QUALIFIED)
    return faults


@lru_cache(maxsize=4096)
def label_value_faults(value: str) -> list[str]:
    return [*([_long(63)] if len(value) > 63 else []), *([] if re.fullmatch(_VALUE, value) else [LABEL_VALUE])]


def variable_faults(name: str) -> list[str]:
    return [] if re.fullmatch(_VARIABLE, name) else [VARIABLE]


def config_key_faults(key: str) -> list[str]:
    if len(key) > 253:
        return [_long(253)]
    if key in (".", ".."):
        return [f"must not be '{key}'"]
    return [] if re.fullmatch(_KEY, key) else [CONFIG_KEY]
