"""timm's pretrained weights by name, from the hub's cache on this machine or from the hub."""

from __future__ import annotations

from pathlib import Path

import timm
from huggingface_hub import (
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import EntryNotFoundError
from timm.models import get_pretrained_cfg

from fer_edge.errors import ConfigurationError, DownloadError

_TIMEOUT_S = 5.0
# users did not agree to telemetry
constants.HF_HUB_DISABLE_TELEMETRY = True
_LISTED = 8


def fetch_from_hub(
    name: str,
    *,
    endpoint: str | None = None,
    cache: Path | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> Path:
    """Give the file of the weights ``NAME`` or ``NAME.TAG``; a cached one without any network.

    safetensors are preferred. The hub has to answer each question within ``timeout_s``.
    ``endpoint`` and ``cache`` replace the hub's usual ones.

    Raises ConfigurationError for a name that timm does not know or has no weights of, and
    DownloadError where the file cannot be fetched; the message names it.
    """
    repository, revision, files = _place(name)
    for file in files:
        cached = try_to_load_from_cache(repository, file, cache_dir=cache, revision=revision)
        if isinstance(cached, str):
            return Path(cached)
    urls = {
        file: hf_hub_url(repository, file, revision=revision, endpoint=endpoint) for file in files
    }
    try:
        file = _first_there(urls, timeout_s)
        return Path(
            hf_hub_download(repository, file, revision=revision, endpoint=endpoint, cache_dir=cache)
        )
    except Exception as problem:  # the client's errors have no common base
        reason = str(problem).strip().partition("\n")[0] or type(problem).__name__
        raise _unfetched(name, urls[files[0]], reason) from problem


def _place(name: str) -> tuple[str, str | None, list[str]]:
    """Find repository, revision (None is the newest) and the files that may hold the weights."""
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        similar = timm.list_models(f"*{architecture.split('_')[0]}*", pretrained=True)[:_LISTED]
        raise ConfigurationError(
            f"timm has no architecture {architecture!r}; similar: {', '.join(similar) or 'none'}"
        )
    known = timm.list_models(f"{architecture}.*", pretrained=True)
    if not known or (tag and name not in known):
        listed = ", ".join(known[:_LISTED]) or "none"
        raise ConfigurationError(f"timm has no weights {name!r}; of this architecture: {listed}")
    settings = get_pretrained_cfg(name)
    if settings is None or not settings.hf_hub_id:
        raise _unfetched(name, str(getattr(settings, "url", "it")), "they are not on the hub")
    repository, _, revision = settings.hf_hub_id.partition("@")
    file = settings.hf_hub_filename or "pytorch_model.bin"
    safe = file.replace("pytorch_model.bin", "model.safetensors")
    return repository, revision or None, list(dict.fromkeys([safe, file]))


def _first_there(urls: dict[str, str], timeout_s: float) -> str:
    for file, url in urls.items():
        try:
            get_hf_file_metadata(url, timeout=timeout_s)
        except EntryNotFoundError:
            continue
        return file
    raise EntryNotFoundError(f"the hub has none of {', '.join(urls)}")


def _unfetched(name: str, url: str, reason: str) -> DownloadError:
    return DownloadError(
        f"timm's weights {name} could not be fetched: {reason:.200}. Download {url} on a machine "
        "that can, and give the file: --init FILE"
    )
