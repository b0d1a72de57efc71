"""The scripted OpenAI-compatible server, for the tests here."""

from __future__ import annotations

from tests.support.openai_server import openai_process as openai_process
from tests.support.openai_server import openai_server as openai_server
