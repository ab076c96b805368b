"""Ray and Serve accept the cluster's files, and they fit the code."""

import copy
import json
import re
import secrets
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml
from ray.serve._private.deploy_utils import get_app_code_version
from ray.serve.schema import ServeDeploySchema

from commands.deploy import CONFIG, with_release
from deployments.directory import StreamDirectory
from serve_app.ingress import Ingress
from serve_app.main import AppArgs, build_app, in_a_cluster, pool_config
from serve_app.settings import Settings, SettingsError, read_settings
from tests.servers import valkey_with

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "cluster"
ELSEWHERE = {"redis_url": "redis://cache:6379/0"}
OTHERWISE = ("RAY_AUTH_TOKEN_PATH", "RAY_external_storage_namespace")
"""What Kubernetes and KubeRay bring in another way."""


@pytest.fixture
def serve_config() -> dict[str, Any]:
    """Read serve.yaml."""
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    return config


def test_the_serve_config_fits_serves_schema_and_our_code(serve_config: dict[str, Any]) -> None:
    """Serve accepts it, every deployment in it exists, and so do its settings."""
    schema = ServeDeploySchema.model_validate(serve_config)
    [application] = schema.applications
    assert application.import_path == "serve_app.main:build_app"
    known: set[str] = {Ingress.name, StreamDirectory.name}  # type: ignore[attr-defined]
    assert {deployment.name for deployment in application.deployments} == known
    args = AppArgs.model_validate(application.args)
    settings = read_settings({**args.settings, "redis_url": "redis://cache:6379/0"})
    assert pool_config(settings).warm_actors == 4


def test_new_code_is_another_application_to_serve(serve_config: dict[str, Any]) -> None:
    """Serve rebuilds the application if its release has another name, and only then."""

    def version(release: str) -> str:
        named = with_release(copy.deepcopy(serve_config), release)
        return get_app_code_version(ServeDeploySchema.model_validate(named).applications[0])

    assert version("1") == version("1") != version("2")
    serve_config["applications"][0]["args"]["settings"]["release"] = "ours"
    assert version("1") == version("2")


def test_the_cluster_config_fits_rays_schema() -> None:
    """Ray's autoscaler accepts it; two nodes for streams at least, none of them of Ray's images."""
    text = (ROOT / "cluster.yaml").read_text()
    config = yaml.safe_load(text)
    schema_path = Path(ray.__file__).parent / "autoscaler/ray-schema.json"
    jsonschema.validate(config, json.loads(schema_path.read_text()))
    types = config["available_node_types"]
    head = types.pop(config["head_node_type"])
    assert head["resources"]["CPU"] == 0 and all(t["resources"]["CPU"] >= 1 for t in types.values())
    assert sum(each["min_workers"] for each in types.values()) >= 2
    assert all(each["node_config"]["ImageId"] for each in (head, *types.values()))
    units = {path.stem for path in GUIDE.glob("*.service")}
    assert set(re.findall(r"(hushcast-\w+)(?:\.service| &&|$)", text, re.MULTILINE)) <= units


def test_kubernetes_and_machines_get_the_same_ray(serve_config: dict[str, Any]) -> None:
    """Serve accepts the config in rayservice.yaml; its environment is that of ray.env."""
    service = yaml.safe_load((GUIDE / "rayservice.yaml").read_text())
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    [application] = ServeDeploySchema.model_validate(config).applications
    known = read_settings({**AppArgs.model_validate(application.args).settings, **ELSEWHERE})
    assert known.s3_bucket == "hushcast"
    assert (
        config["applications"][0]["deployments"] == serve_config["applications"][0]["deployments"]
    )
    cluster = service["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    containers = [group["template"]["spec"]["containers"][0] for group in groups]
    lines = (GUIDE / "ray.env").read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
    of_machines = {name: value for name, value in pairs if name not in OTHERWISE}
    for container in containers:
        of_pods = {each["name"]: each.get("value") for each in container["env"]}
        assert of_pods | of_machines == of_pods
        for name in of_pods:
            if name.startswith("HUSHCAST_"):
                assert name.removeprefix("HUSHCAST_").lower() in Settings.model_fields


def test_resources_of_actors_and_the_size_of_the_pool_are_settings() -> None:
    """A GPU cluster needs no code changes."""
    settings = read_settings(
        {
            "redis_url": "redis://cache:6379/0",
            "s3_bucket": "hushcast",
            "actor_num_gpus": 0.25,
            "actor_num_cpus": 1,
            "warm_actors": 8,
            "streams_per_actor": 16,
        }
    )
    pool = pool_config(settings)
    assert (pool.actor.num_gpus, pool.actor.num_cpus, pool.warm_actors) == (0.25, 1, 8)
    assert (pool.actor.config.device, pool.actor.config.streams_per_actor) == ("cuda", 16)


def test_a_cluster_has_defaults_of_its_own() -> None:
    """People are invited; what a lost node costs is bounded. Whoever sets something gets that."""
    unset = in_a_cluster(read_settings({}))
    assert (unset.sign_up, unset.tail_s, unset.heartbeat_s) == ("invite", 8, 2)
    chosen = in_a_cluster(read_settings({"sign_up": "open", "tail_s": 0, "heartbeat_s": 5}))
    assert (chosen.sign_up, chosen.tail_s, chosen.heartbeat_s) == ("open", 0, 5)


def test_a_redis_in_cluster_mode_is_not_deployed(tmp_path: Path) -> None:
    """`serve deploy` fails with a sentence; replicas would fail one request after another."""
    with valkey_with(tmp_path, "cluster-enabled yes") as port:
        settings = {"redis_url": f"redis://127.0.0.1:{port}", "s3_bucket": "hushcast"}
        with pytest.raises(SettingsError, match="cluster mode, which hushcast does not support"):
            build_app(AppArgs(settings={**settings, "secret_key": secrets.token_hex(16)}))
