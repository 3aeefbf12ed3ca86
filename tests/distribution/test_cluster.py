"""Who the workers of a run are, as flags, TF_CONFIG and Slurm say it."""

import json
import socket

import pytest
from loopback import free_addresses

from sat_tf.distribution import Cluster, cluster, cluster_of
from sat_tf.errors import UserError

TWO = ("10.0.0.1:2222", "10.0.0.2:2222")


def tf_config(cluster, **task):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}


@pytest.mark.parametrize("strategy", ["multi_worker", "auto"])
@pytest.mark.parametrize(
    "given, environ, index",
    [
        ((TWO, 1), {}, 1),
        ((("[::1]:1", "host:2"), 0), {}, 0),
        ((TWO, 0), tf_config({"worker": ["other:1"]}, type="worker", index=0), 0),
        (((), None), tf_config({"worker": TWO}, type="worker", index=1), 1),
        (((), None), tf_config({"chief": TWO[:1], "worker": TWO[1:]}, type="chief", index=0), 0),
        (((), None), tf_config({"chief": TWO[:1], "worker": TWO[1:]}, type="worker", index=0), 1),
    ],
)
def test_the_workers_are_those_that_are_named(strategy, given, environ, index):
    found = cluster_of(strategy, *given, environ=environ)
    assert found == Cluster(given[0] or TWO, index)
    assert found.is_chief == (index == 0)
    resolver = found.resolver()
    assert resolver.cluster_spec().as_dict() == {"worker": list(found.workers)}
    assert (resolver.task_type, resolver.task_id) == ("worker", index)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"TF_CONFIG": "{}"},
        tf_config({"worker": TWO[:1]}, type="worker", index=0),
        {"SLURM_STEP_NODELIST": "node1", "SLURM_PROCID": "0"},
    ],
)
def test_where_nobody_else_is_named_a_process_is_alone(environ):
    assert cluster_of("auto", environ=environ) is None
    assert cluster_of("one_device", environ=environ) is None


def test_a_single_worker_is_a_cluster_where_that_is_asked_for():
    environ = tf_config({"worker": TWO[:1]}, type="worker", index=0)
    assert cluster_of("multi_worker", environ=environ) == Cluster(TWO[:1], 0)


def test_the_tasks_of_a_slurm_step_are_workers(monkeypatch):
    environ = {
        "SLURM_STEP_NODELIST": "node[1-2]",
        "SLURM_NODELIST": "node[1-2]",
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
        "SLURM_PROCID": "3",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    found = cluster_of("multi_worker")
    assert found.workers == ("node1:8888", "node1:8889", "node2:8888", "node2:8889")
    assert found.index == 3


@pytest.mark.parametrize(
    "strategy, given, environ, message",
    [
        ("multi_worker", ((), None), {}, "--strategy=multi_worker: who the workers are"),
        ("multi_worker", (TWO, None), {}, "--workers=.*: .* give --worker_index, 0 to 1"),
        ("multi_worker", (TWO, 2), {}, "--worker_index=2: there are 2 workers; give one of 0 to 1"),
        ("multi_worker", (TWO, -1), {}, "--worker_index=-1: there are 2 workers"),
        ("auto", ((), 1), {}, "--worker_index=1: of which workers is not said"),
        ("auto", (("host",), 0), {}, "--workers: 'host' is no address; give HOST:PORT"),
        ("auto", (("host:0",), 0), {}, "--workers: 'host:0' is no address"),
        ("auto", (("host:99999",), 0), {}, "--workers: 'host:99999' is no address"),
        ("auto", (("host:1", "host:1"), 0), {}, "--workers: host:1 is there twice"),
        ("mirrored", (TWO, 0), {}, "--workers: is for --strategy=multi_worker, .*=mirrored"),
        ("tpu", ((), 0), {}, "--worker_index: is for --strategy=multi_worker"),
        ("auto", ((), None), {"TF_CONFIG": "{"}, "TF_CONFIG: cannot be used"),
        ("auto", ((), None), {"TF_CONFIG": "[]"}, "TF_CONFIG: cannot be used"),
        ("auto", ((), None), tf_config({"ps": TWO}, type="ps", index=0), "TF_CONFIG: .*'ps'"),
        ("auto", ((), None), tf_config({"worker": TWO}, type="worker", index=2), "no worker 2"),
        ("auto", ((), None), {"TF_CONFIG": '{"cluster": {"worker": ["a:1"]}}'}, "TF_CONFIG: "),
        ("multi_worker", ((), None), {"SLURM_STEP_NODELIST": "a"}, "Slurm's environment cannot"),
    ],
)
def test_what_cannot_be_is_one_line(strategy, given, environ, message, monkeypatch):
    for name in ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=message) as refusal:
        cluster_of(strategy, *given, environ=environ)
    assert "\n" not in str(refusal.value)


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match=f"worker 0 cannot listen on the port of {address}"):
            cluster.meet(Cluster((address, "127.0.0.1:1"), 0))


def test_those_who_are_there_need_not_be_waited_for(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        own = free_addresses(1)[0]
        cluster.meet(Cluster((own, f"127.0.0.1:{other.getsockname()[1]}"), 0))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("index", [0, 1])
def test_those_who_are_not_there_are_named(index, capsys, monkeypatch):
    monkeypatch.setattr(cluster, "_PATIENT_SECONDS", 0)
    answers = iter([False, False, True])
    monkeypatch.setattr(cluster, "_answers", lambda address: next(answers))
    addresses = tuple(free_addresses(2))
    cluster.meet(Cluster(addresses, index))
    said = capsys.readouterr()
    named = f"waiting for worker {1 - index} ({addresses[1 - index]}) ... "
    assert (said.err if index else said.out).count(named) == 2
