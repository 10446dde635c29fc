"""`corsproxy explain`: what becomes of a call, by a configuration file, without sending anything.

Here:  which call, which form, which exit code.
Never: finding out (`proxy.explain`), the words of the lines (`explain_text`).
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import click

from corsproxy.cli.check import EX_CONFIG, summary
from corsproxy.cli.explain_text import as_line, as_text
from corsproxy.cli.har import Entry, HarError, read_har
from corsproxy.cli.main import HELP_OPTIONS
from corsproxy.config.compile import load_table
from corsproxy.config.problems import has_errors
from corsproxy.config.search import ConfigUnreadableError, read_config
from corsproxy.config.table import Table
from corsproxy.cors.browser import Call
from corsproxy.cors.fields import is_token
from corsproxy.cors.pasted import Pasted, read_pasted
from corsproxy.proxy.explain import Explanation, Question, explain
from corsproxy.proxy.explained import Json, as_json, authority_of, curl_commands
from corsproxy.proxy.routing import Router

__all__ = ["explain_verb"]
