"""fer-edge serve."""

from __future__ import annotations

import os
import webbrowser
from argparse import Namespace
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from fer_edge.artifacts.model import DEFAULT_MODEL
from fer_edge.command import (
    MODEL_HELP,
    Commands,
    add_command,
    add_predictor_options,
    open_predictor,
    say,
)
from fer_edge.errors import ConfigurationError
from fer_edge.system.dependencies import requires

TOKEN_VARIABLE = "FER_EDGE_TOKEN"  # noqa: S105 - the name of the variable that holds it


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "serve", "serve the page, with this machine's engines", _serve)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument(
        "--model",
        action="append",
        help=f"{MODEL_HELP}; may be given more than once, clients choose by name",
    )
    parser.add_argument(
        "--camera",
        metavar="SOURCE",
        action="append",
        default=[],
        help="a camera of the server to show: its number, rtsp://..., or a GStreamer pipeline",
    )
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        type=Path,
        help=f"holds the token that clients must know (or {TOKEN_VARIABLE}); beyond the loopback "
        "one is made and printed where none is given",
    )
    parser.add_argument(
        "--origin",
        metavar="URL",
        action="append",
        default=[],
        help="another address by which browsers reach the server, such as https://faces.example.org",
    )
    parser.add_argument("--ssl-certfile", metavar="PEM", type=Path, help="certificate for TLS")
    parser.add_argument("--ssl-keyfile", metavar="PEM", type=Path, help="its key")
    add_predictor_options(parser)


def show_camera(options: Namespace) -> int:
    """Serve the page to this machine alone, with the camera of ``fer-edge camera``, and open it."""
    served = Namespace(
        **{**vars(options), "model": [options.model], "camera": [options.source]},
        **dict.fromkeys(("token_file", "ssl_certfile", "ssl_keyfile")),
        host="127.0.0.1",
        port=0,
        origin=[],
    )
    return _serve(served, started=webbrowser.open)


def _serve(options: Namespace, started: Callable[[str], object] = lambda _: None) -> int:
    from fer_edge.live.sources import open_source, source_named, without_secrets  # needs OpenCV

    with requires("serve"):
        from fer_edge.serve.app import create_app
        from fer_edge.serve.running import bind, make_server
        from fer_edge.serve.settings import (
            ServerSettings,
            is_loopback,
            new_token,
            reachable_name,
        )

    secure = options.ssl_certfile is not None
    for file in (options.ssl_certfile, options.ssl_keyfile):
        if file is not None and not file.is_file():
            raise ConfigurationError(f"there is no file {file} for TLS")
    models = _named(options.model or [DEFAULT_MODEL])
    token, made = _token(options), False
    if token is None and not is_loopback(options.host):
        token, made = new_token(), True
    with ExitStack() as stack:
        bound = stack.enter_context(bind(options.host, options.port))
        port = bound.getsockname()[1]
        settings = ServerSettings.for_address(
            options.host, port, token=token, origins=options.origin, secure=secure
        )
        predictors = {
            name: stack.enter_context(open_predictor(model, options))
            for name, model in models.items()
        }
        cameras = {
            without_secrets(one): partial(open_source, source_named(one)) for one in options.camera
        }
        app = create_app(predictors, settings, cameras)

        def tell() -> None:
            if made:
                say(f"the token of this server: {token}")
            name = reachable_name(options.host)
            name = f"[{name}]" if ":" in name else name
            address = f"{'https' if secure else 'http'}://{name}:{port}/"
            print(address, flush=True)
            started(address)

        server = make_server(
            app,
            settings.limits,
            tell,
            certificate=options.ssl_certfile,
            key=options.ssl_keyfile,
        )
        with suppress(KeyboardInterrupt):  # how a server is stopped
            server.run(sockets=[bound])
    return 0


def _named(models: list[str]) -> dict[str, str]:
    """Models by the name that clients choose them by."""
    named = {Path(model).stem: model for model in models}
    if len(named) < len(models):
        raise ConfigurationError(
            f"two of the models {', '.join(models)} have the same name; rename one of the files"
        )
    return named


def _token(options: Namespace) -> str | None:
    if options.token_file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        return Path(options.token_file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigurationError(
            f"cannot read the token in {options.token_file}: "
            f"{getattr(problem, 'strerror', None) or problem}"
        ) from problem
