"""`make fairness`: what is shown of the simulation, with the template's own numbers."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from rich.console import Console

from tools.bench.fairness import _spark, _table, chart, mappings, scenarios
from tools.bench.queues import Mapping, Work
from tools.local.assembly import Stack
from tools.local.errors import LocalError

LOW, HIGH = Mapping(batch_size=10, concurrency=2), Mapping(batch_size=5, concurrency=8)


@pytest.fixture(scope="module")
def found():
    return scenarios(HIGH, LOW, Work(batch=0.2, job=0.1), noisy_jobs=1000, quiet_every=5, seconds=120, seed=1)


def a_stack(**names: str) -> Stack:
    queues = {key: {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name}} for key, name in names.items()}
    sources = {
        f"{key}Source": {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": {
                "EventSourceArn": {"Fn::GetAtt": [key, "Arn"]},
                "BatchSize": 5 if key == "High" else 10,
                "ScalingConfig": {"MaximumConcurrency": 8 if key == "High" else 2},
            },
        }
        for key in names
    }
    return Stack(name="Batch", template={"Resources": {**queues, **sources}})


def test_batches_are_those_of_the_template():
    assert mappings([a_stack(High="onnx-dev-jobs-high", Low="onnx-dev-jobs-low")]) == (HIGH, LOW)


def test_an_app_without_queues_is_told_so():
    with pytest.raises(LocalError, match="high and low priority"):
        mappings([a_stack(High="onnx-dev-jobs-high")])


def test_each_way_is_better_for_the_quiet_client(found):
    longest = [max(each.waited for each in scenario.waits("quiet")) for scenario in found]

    assert longest[0] > 10 * longest[1] > 0
    assert longest[2] <= longest[1]


def test_the_table_has_both_clients_of_each_scenario(found):
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115 - as long as the test
    with console.file:
        console.print(_table(found))
        text = console.export_text()

    assert text.count("quiet  ") == 3
    assert text.count("noisy") == 3
    assert "1,000" in text


def test_the_plot_is_high_where_jobs_wait_long(found):
    plain, fair, apart = (_spark(scenario, 120) for scenario in found)

    assert max(plain) > max(fair) >= max(apart)


def test_the_chart_is_an_image_with_a_dot_a_job(found):
    root = ET.fromstring(chart(found, 120))
    dots = [each for each in root.iter("{http://www.w3.org/2000/svg}circle") if each.get("r") == "2.5"]

    assert len(dots) == sum(len(scenario.waits("quiet")) for scenario in found)
