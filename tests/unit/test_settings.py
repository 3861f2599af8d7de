from pathlib import Path

import pytest

from crossmodal import settings as settings_module
from crossmodal.clip.spec import BUNDLED
from crossmodal.errors import ConfigurationError
from crossmodal.settings import EncoderPlace, ModelRuntime, Settings, UrlFetching, load_settings
from tools.servers import ROOT


def test_defaults_keep_everything_under_data() -> None:
    settings = Settings(data=Path("somewhere"))
    assert settings.store_url == "edge:somewhere/store"
    assert settings.media_url == "somewhere/media"
    assert settings.model == "ViT-B-32/laion2b_s34b_b79k"
    assert (settings.keys_file, settings.rate, settings.burst) == (None, None, None)
    assert settings.max_body_bytes == 20 * 1024 * 1024


def test_a_model_that_came_with_the_bento_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_module, "ROOT", tmp_path)
    (tmp_path / BUNDLED["baked"].relative_to(ROOT)).mkdir(parents=True)
    assert Settings().model == "baked"
    monkeypatch.setenv("CROSSMODAL_MODEL", "tiny")
    assert Settings().model == "tiny"


def test_the_environment_is_read_with_its_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSMODAL_MODEL", "tiny")
    monkeypatch.setenv("CROSSMODAL_STORE", "http://127.0.0.1:6333")
    monkeypatch.setenv("CROSSMODAL_ENCODER", "service")
    monkeypatch.setenv("CROSSMODAL_API_WORKERS", "4")
    monkeypatch.setenv("CROSSMODAL_ENCODER_WORKERS", "2")
    monkeypatch.setenv("CROSSMODAL_KEYS_FILE", "/etc/keys.json")
    monkeypatch.setenv("CROSSMODAL_RATE", "2.5")
    monkeypatch.setenv("CROSSMODAL_BURST", "30")
    monkeypatch.setenv("CROSSMODAL_PREPROCESSING", "reference")
    monkeypatch.setenv("CROSSMODAL_DECODE_WORKERS", "3")
    monkeypatch.setenv("CROSSMODAL_DECODE_TIMEOUT", "2.5")
    settings = load_settings()
    assert (settings.keys_file, settings.rate, settings.burst) == (Path("/etc/keys.json"), 2.5, 30.0)
    assert (settings.model, settings.encoder) == ("tiny", EncoderPlace.SERVICE)
    assert (settings.api_workers, settings.encoder_workers) == (4, 2)
    assert (settings.preprocessing, settings.decode_workers, settings.decode_timeout) == ("reference", 3, 2.5)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CROSSMODAL_MAX_BODY_BYTES", "many"),
        ("CROSSMODAL_ENCODER", "elsewhere"),
        ("CROSSMODAL_DEVICE", "tpu"),
        ("CROSSMODAL_PRECISION", "int4"),
        ("CROSSMODAL_RUNTIME", "onnx"),
        ("CROSSMODAL_PREPROCESSING", "mine"),
        ("CROSSMODAL_DECODE_TIMEOUT", "0"),
        ("CROSSMODAL_MODEL_THREADS", "0"),
        ("CROSSMODAL_RATE", "0"),
        ("CROSSMODAL_RATE", "inf"),
        ("CROSSMODAL_BURST", "0.5"),
    ],
)
def test_a_wrong_value_is_named_but_not_shown(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert variable in caught.value.detail
    assert "\n" not in caught.value.detail


@pytest.mark.parametrize("name", sorted(set(Settings.model_fields) - {"keys_file"}))
def test_an_empty_variable_is_as_none(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    without = load_settings()
    monkeypatch.setenv(f"CROSSMODAL_{name.upper()}", "")
    assert load_settings() == without


@pytest.mark.parametrize("variable", ["CROSSMODAL_KEYS_FILE", "crossmodal_keys_file"])
def test_an_empty_name_of_the_keys_file_does_not_let_everybody_in(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "")
    with pytest.raises(ConfigurationError, match=f"{variable}: it is empty"):
        load_settings()


def test_a_key_never_shows_up_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSMODAL_STORE_API_KEY", "s3cret-key")
    monkeypatch.setenv("CROSSMODAL_API_WORKERS", "0")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "s3cret-key" not in caught.value.detail
    assert "s3cret-key" not in repr(Settings(api_workers=1))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"encoder": "local"}, "CROSSMODAL_ENCODER=service"),
        ({"encoder": "service", "store": "edge:x"}, "Qdrant server"),
    ],
)
def test_several_workers_need_what_they_can_share(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], reason: str
) -> None:
    for name, value in {"api_workers": "2", **values}.items():
        monkeypatch.setenv(f"CROSSMODAL_{name.upper()}", value)
    with pytest.raises(ConfigurationError, match=reason):
        load_settings()


def test_exports_and_what_was_compiled_are_kept_under_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSMODAL_DATA", "/srv/data")
    monkeypatch.setenv("CROSSMODAL_RUNTIME", "openvino")
    settings = load_settings()
    assert (settings.exports, settings.compiled) == (Path("/srv/data/exports"), Path("/srv/data/compiled"))
    assert settings.runtime == "openvino"
    assert Settings(runtime=ModelRuntime.AUTO).runtime.value == "auto"


def test_urls_are_not_fetched_unless_asked_for() -> None:
    settings = Settings()
    assert (settings.fetch_urls, settings.fetch_hosts, settings.fetch_private_hosts) == (UrlFetching.OFF, (), ())
    assert settings.fetch_timeout == 10


def test_hosts_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSMODAL_FETCH_URLS", "allowed")
    monkeypatch.setenv("CROSSMODAL_FETCH_HOSTS", "example.org, .cdn.example,[::1]:81,")
    monkeypatch.setenv("CROSSMODAL_FETCH_PRIVATE_HOSTS", "pictures:9000")
    settings = load_settings()
    assert settings.fetch_hosts == ("example.org", ".cdn.example", "[::1]:81")
    assert settings.fetch_private_hosts == ("pictures:9000",)


def test_an_allow_list_must_list_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSMODAL_FETCH_URLS", "allowed")
    with pytest.raises(ConfigurationError, match="needs CROSSMODAL_FETCH_HOSTS"):
        load_settings()


@pytest.mark.parametrize(
    "url", ["http://encoder:3000", "https://encoder.example", "http://10.0.0.7:3000", "http://[::1]:3000"]
)
def test_an_encoder_can_be_elsewhere(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("CROSSMODAL_ENCODER", "service")
    monkeypatch.setenv("CROSSMODAL_ENCODER_URL", f"{url}/")
    assert load_settings().encoder_url == url
    assert Settings.model_fields["encoder_url"].default is None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("encoder:3000", "http://HOST:PORT"),
        ("ftp://encoder:3000", "http://HOST:PORT"),
        ("http://", "http://HOST:PORT"),
        ("http://:3000", "http://HOST:PORT"),
        ("http://encoder:0", "http://HOST:PORT"),
        ("http://encoder:70000", "http://HOST:PORT"),
        ("http://enc oder:3000", "http://HOST:PORT"),
        ("http://encoder:3000\r\nX-Y: z", "http://HOST:PORT"),
        ("http://me:s3cret@encoder:3000", "no credentials"),
        ("http://s3cret@encoder:3000", "no credentials"),
        ("http://encoder:3000/v1/encoder", "without path"),
        ("http://encoder:3000?key=s3cret", "without path"),
        ("http://encoder:3000#s3cret", "without path"),
    ],
)
def test_an_encoder_is_named_by_scheme_host_and_port_alone(
    monkeypatch: pytest.MonkeyPatch, url: str, reason: str
) -> None:
    monkeypatch.setenv("CROSSMODAL_ENCODER", "service")
    monkeypatch.setenv("CROSSMODAL_ENCODER_URL", url)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        load_settings()
    assert "CROSSMODAL_ENCODER_URL" in caught.value.detail
    assert "s3cret" not in caught.value.detail


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"encoder": "local"}, "needs CROSSMODAL_ENCODER=service"),
        ({"encoder": "service", "batcher": "bentoml"}, "needs CROSSMODAL_BATCHER=ours"),
    ],
)
def test_an_encoder_elsewhere_needs_what_it_is_called_by(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], reason: str
) -> None:
    for name, value in {"encoder_url": "http://encoder:3000", **values}.items():
        monkeypatch.setenv(f"CROSSMODAL_{name.upper()}", value)
    with pytest.raises(ConfigurationError, match=reason):
        load_settings()


@pytest.mark.parametrize(
    "url", ["http://collector:4318", "https://otlp.example/otlp", "http://[::1]:4318", "https://a.example/x/y-z_1.2~"]
)
def test_traces_can_be_sent_somewhere(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    assert load_settings().otlp_endpoint is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://elsewhere:4318")
    assert load_settings().otlp_endpoint is None, "only our own setting switches traces on"
    monkeypatch.setenv("CROSSMODAL_OTLP_ENDPOINT", f"{url}/")
    monkeypatch.setenv("CROSSMODAL_TRACE_RATIO", "0.25")
    monkeypatch.setenv("CROSSMODAL_SERVICE_NAME", "shop.search")
    settings = load_settings()
    assert (settings.otlp_endpoint, settings.trace_ratio, settings.service_name) == (url, 0.25, "shop.search")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTLP_ENDPOINT", "collector:4318"),
        ("OTLP_ENDPOINT", "grpc://collector:4317"),
        ("OTLP_ENDPOINT", "http://user:s3cret@collector:4318"),
        ("OTLP_ENDPOINT", "http://user:s3cret@collector:4318/s3cret"),
        ("OTLP_ENDPOINT", "http://collector:4318/s3cret%2f"),
        ("OTLP_ENDPOINT", "http://collector:s3cret/s3cret"),
        ("OTLP_ENDPOINT", "http://collector:4318/v1?key=s3cret"),
        ("OTLP_ENDPOINT", "http://collector:4318/#s3cret"),
        ("OTLP_ENDPOINT", "http://collector:4318/a b"),
        ("TRACE_RATIO", "1.5"),
        ("TRACE_RATIO", "-0.1"),
        ("TRACE_RATIO", "nan"),
        ("SERVICE_NAME", "a\nb"),
    ],
)
def test_what_cannot_be_sent_anywhere_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(f"CROSSMODAL_{variable}", value)
    with pytest.raises(ConfigurationError, match=f"CROSSMODAL_{variable}") as caught:
        load_settings()
    assert "s3cret" not in caught.value.detail
