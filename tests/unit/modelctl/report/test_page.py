"""The page as text: what it says, and what it makes of a report that nobody should have written."""

import copy
import re
from typing import Any

import pytest

from tests.unit.modelctl.report import documents
from tools.modelctl.report import page
from tools.modelctl.report.comparison import verdict
from tools.modelctl.report.standing import verdict as verdict_on
from tools.modelctl.report.text import DASH

NOT_DRAWN = "not drawn"


def worse(report: dict[str, Any], by: float) -> dict[str, Any]:
    """The same version with every metric and interval lower."""
    other = copy.deepcopy(report)
    for name, found in other["evaluation"]["metrics"].items():
        other["manifest"]["metrics"][name] -= by
        found.update({key: value - by for key, value in found.items()})
    return other


def text_of(html: str) -> str:
    """What a person reads."""
    body = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


@pytest.mark.parametrize("make", [documents.classifier, documents.uneven, documents.regressor, documents.clusters, documents.one_cluster])
def test_a_page_is_one_file_without_script_or_request(make: Any) -> None:
    report = make()
    report["evaluation"] |= {"compression": documents.compression(), "migration": documents.migration()}
    html = page.render(report, production=make())
    assert NOT_DRAWN not in html
    assert not re.search(r"https?:|<script|url\(|@import|<img|src=", html)
    assert "default-src 'none'" in html


def test_the_same_report_gives_the_same_bytes() -> None:
    assert page.render(documents.classifier()) == page.render(documents.classifier())


def test_the_verdict_comes_first() -> None:
    text = text_of(page.render(documents.regressor()))
    assert "It fails: mae &lt;= 15000 doesn&#39;t hold: held-out rows gave 15,913" in text
    assert text.index("It fails") < text.index("How good it is")
    assert verdict_on(documents.classifier()) == "passes its 3 gates"


@pytest.mark.parametrize(
    ("task", "why"),
    [
        ("classification", "it had no rows with a known answer"),
        ("custom", "a custom model has no metrics"),
        ("clustering", "its metrics aren't defined for the held-out rows"),
    ],
)
def test_a_model_that_nothing_scored_says_why(task: str, why: str) -> None:
    report = documents.document("bare", task, {}, [], {})
    assert verdict_on(report) == f"was not scored: {why}"
    html = page.render(report)
    assert NOT_DRAWN not in html
    assert "How good it is" not in html


def test_what_is_not_defined_for_a_class_is_a_dash() -> None:
    rows = re.findall(r"<tr>(.*?)</tr>", page.render(documents.uneven(), production=documents.uneven()))
    cells = [tuple(re.findall(r"<td[^>]*>(.*?)</td>", row)) for row in rows]
    assert ("borderline", "6", DASH, "0", "0") in cells
    assert ("unknown", "0", DASH, DASH, DASH) in cells
    assert [row[0] for row in cells if row and row[0].startswith("recall of")] == [
        "recall of malignant",
        "recall of benign",
        "recall of borderline",
    ]


def test_of_many_classes_those_with_the_lowest_recall_are_shown_and_none_without_one() -> None:
    many = [{"name": "unseen", "support": 0}, *({"name": f"class {index}", "recall": index / 30, "support": 9} for index in range(30))]
    text = text_of(page.render(documents.classifier(per_class=many)))
    assert "The 20 of 31 classes with the lowest recall." in text
    assert "class 19 9" in text
    assert "class 20 9" not in text
    assert "unseen" not in text


def test_clusters_without_a_distance_are_counted() -> None:
    text = text_of(page.render(documents.one_cluster()))
    assert "It was not scored: its metrics aren&#39;t defined for the held-out rows" in text
    assert "that needs two clusters or more" in text
    assert re.search(r"cluster held-out rows 0 45\b", text)


@pytest.mark.parametrize(
    ("make", "sentences"),
    [
        (
            documents.classifier,
            [
                "Of 57 malignant, 55 were found; of 86 benign, 81.",
                "Where it is 98% sure it is right in 99% of 110 rows",
                "f1 is 0.948 over all rows (the line), and at its worst 0.899: smoker = True.",
                "With the values of input[0] shuffled, f1 loses 0.090, more than with any other.",
                "A request of 1 row takes 11.9 µs in the median.",
            ],
        ),
        (
            documents.regressor,
            ["90% of the residuals, true value less predicted, lie between \N{MINUS SIGN}32,100 and 33,000.", "Trained 5 times"],
        ),
        (documents.clusters, ["Cluster 1 stands out the least: silhouette 0.180"]),
    ],
)
def test_each_drawing_has_a_sentence_that_says_what_one_sees(make: Any, sentences: list[str]) -> None:
    text = text_of(page.render(make()))
    for sentence in sentences:
        assert sentence in text


def test_every_drawing_has_a_name_and_a_description() -> None:
    html = page.render(documents.classifier(compression=documents.compression()), production=documents.classifier())
    drawings = re.findall(r"<svg [^>]*>", html)
    assert len(drawings) == len(re.findall(r'<svg [^>]*role="img"[^>]*><title>[^<]+</title><desc>[^<]+</desc>', html)) >= 9


def test_a_gate_is_a_flag_at_its_limit_and_a_relative_one_moves_with_production() -> None:
    report = documents.classifier()
    report["manifest"]["gates"] = [{"gate": "f1 >= production - 0.01", "value": 0.9477, "passed": True}]
    assert 'class="gate"' not in page.render(report)
    assert "gate ≥ 0.9077" in page.render(report, production=worse(report, 0.03))


def test_a_gate_against_production_waits_for_one_and_then_fails_where_it_does() -> None:
    report, better = documents.classifier(), documents.classifier()
    report["manifest"]["gates"].append({"gate": "recall[malignant] >= production - 0.01", "value": 0.965, "passed": True})
    better["evaluation"]["per_class"][0]["recall"] = 0.99
    assert verdict_on(report) == "passes its 3 gates; 1 more waits for a production to be held against"
    assert verdict_on(report, documents.classifier()) == "passes its 4 gates"
    del better["evaluation"]["per_class"][1]["precision"]  # of a class that production never answered
    assert verdict_on(report, better) == "fails: recall[malignant] >= production - 0.01 doesn't hold: held-out rows gave 0.965"
    assert "It fails" in page.render(report, production=better)
    assert "It passes" in page.render(report, production=better, called="20261120T174100Z-1a2b3c4d")


@pytest.mark.parametrize("classes", [[], [{"name": "malignant"}], 7, [3]])
def test_a_gate_that_production_records_nothing_of_fails_as_it_does_when_promoted(classes: object) -> None:
    report, other = documents.classifier(), documents.classifier(per_class=classes)
    report["manifest"]["gates"] = [
        {"gate": gate, "value": 0.95, "passed": True} for gate in ("recall[malignant] >= production", "f1 >= production", "f1 >= 0.9")
    ]
    assert verdict_on(report, other) == "fails: recall[malignant] >= production can't be held against production, which doesn't record it"


def test_a_gate_on_a_class_that_is_called_production_waits_for_none() -> None:
    report = documents.classifier()
    report["manifest"]["gates"] = [{"gate": "recall[production] >= 0.5", "value": 0.4, "passed": False}]
    assert verdict_on(report).startswith("fails: recall[production] >= 0.5 doesn't hold")


@pytest.mark.parametrize(
    ("transform", "said"),
    [
        (None, "verdict ✓ answers as its original"),
        ("opset 26, IR 13", "verdict ✓ answers as its original"),
        ("static-int8", "differs from its parent by 1.3% of labels, and numbers by up to 0.012"),
    ],
)
def test_a_compressed_version_differs_and_nobody_judged_by_how_much(transform: str | None, said: str) -> None:
    report = documents.classifier()
    report["manifest"]["lineage"]["transform"] = transform
    report["manifest"]["parity"] |= {"disagreement": 0.013, "largest_difference": 0.012}
    text = text_of(page.render(report))
    assert said in text
    assert ("answers as its original" in text) == ("verdict" in said)
    report["manifest"]["outputs"][0]["name"] = "prediction"
    assert "of labels" not in text_of(page.render(report))
    assert "labels that differ" not in text_of(page.render(report))
    report["manifest"]["parity"]["passed"] = False
    assert "✗ differs from its original" in text_of(page.render(report))


def test_micro_averages_which_are_the_accuracy_are_shown_only_where_a_gate_is_about_them() -> None:
    report = documents.classifier()
    report["manifest"]["metrics"] |= dict.fromkeys(("precision_micro", "recall_micro", "f1_micro"), 0.951)
    assert "_micro" not in page.render(report, production=report)
    report["manifest"]["gates"].append({"gate": "f1_micro >= 0.9", "value": 0.951, "passed": True})
    text = text_of(page.render(report, production=report))
    assert text.count("f1_micro 0.951 0.951") == 1
    assert "recall_micro" not in text


def test_a_difference_is_told_from_what_chance_would_make() -> None:
    report = documents.classifier()
    assert verdict(report, worse(report, 0.001), "f1") == "better, intervals overlap"
    assert verdict(report, worse(report, 0.2), "f1") == "better, intervals apart"
    assert verdict(report, worse(report, -0.2), "f1") == "worse, intervals apart"
    assert verdict(report, worse(report, 0.2), "log_loss") == "worse, intervals apart"
    assert verdict(report, report, "f1") == "the same"


def test_a_report_from_before_evaluations_is_shown_and_compared_as_far_as_it_goes() -> None:
    old = documents.classifier()
    del old["evaluation"]
    assert NOT_DRAWN not in page.render(old)
    text = text_of(page.render(documents.classifier(), production=old))
    assert "Beside production" in text
    assert "Whether both were scored on the same rows is not known." in text


def hostile(count: int) -> dict[str, Any]:
    """As many classes, with names that want to be markup, to turn the text around or to fill the page."""
    kinds = [
        "<script>alert(1)</script>" * 20,
        "日本語のとても長い名前" * 9,
        "\u202eevil\x00\n" + "unbroken_" * 30,
        '"><svg onload=alert(1)>',
    ]
    names = [f"{kinds[index % 4]}{index}" for index in range(count)]
    counts = [[40 if row == column else (row * 7 + column) % 5 // 4 for column in range(count)] for row in range(count)]
    return documents.classifier(
        confusion={"names": names, "counts": counts},
        per_class=[{"name": name, "precision": 0.9, "recall": 0.9, "f1": 0.9, "support": 40} for name in names],
        roc=[{"name": name, "auc": 0.9, "points": [[0, 0], [0.1, 0.9], [1, 1]]} for name in names],
        importance={"metric": "f1", "features": [{"name": name, "mean": 0.1, "deviation": 0.1} for name in names]},
        slices=[{"column": name, "value": name, "rows": 20, "metrics": {"f1": 0.9}} for name in names],
        data={"rows": 9, "trained": 6, "held_out": 3, "classes": [{"name": name, "trained": 2, "held_out": 1} for name in names]},
    )


def test_hostile_labels_are_text_and_bounded() -> None:
    html = page.render(hostile(200), production=hostile(200))
    assert NOT_DRAWN not in html
    assert "<script" not in html
    assert "<svg onload" not in html
    assert not {"\u202e", "\x00"} & set(html)
    assert len(html) < 450_000
    assert "Drawn are the 20 of 200 classes with the most mistakes." in html


@pytest.mark.parametrize("part", ["confusion", "roc", "calibration", "slices", "importance", "latency", "metrics", "data", "per_class"])
@pytest.mark.parametrize(
    "value", [7, "text", [{}], [{"metrics": {}}], {"names": ["a"], "counts": [[None]], "bins": [], "features": [{"name": 1}]}]
)
def test_a_part_that_cannot_be_read_says_so_and_leaves_the_others(part: str, value: object) -> None:
    html = page.render(documents.classifier(**{part: value}))
    assert "It passes its 3 gates" in html
    assert "Where it comes from" in html


def test_what_was_trained_elsewhere_is_not_said_to_have_been_trained_on_these_rows() -> None:
    report = documents.classifier()
    assert "426 trained on" in text_of(page.render(report))
    report["evaluation"]["data"]["elsewhere"] = True
    text = text_of(page.render(report))
    assert "trained on" not in text
    assert "143 of 569; trained elsewhere" in text
    assert "569, 143 of them held out; the model was trained elsewhere, and may know them" in text
    assert "rows that it has seen there flatter it" in text
    assert "class other rows held out" in text


def test_answers_to_rows_that_may_be_noise_say_so() -> None:
    data = {"rows": 64, "trained": 48, "held_out": 16, "elsewhere": True}
    known, unknown = (text_of(page.render(documents.classifier(data=data | more))) for more in ({}, {"without_target": True}))
    assert "✓ answers as its original rows compared" in known
    assert "✓ answers as its original, to rows that are made up or have no known answer" in unknown
    assert "64, 16 of them held out; made up, or without a known answer" in unknown


def test_rows_that_cannot_be_read_leave_the_metrics_and_the_parity() -> None:
    text = text_of(page.render(documents.classifier(data=7)))
    assert text.count(NOT_DRAWN) == 1
    assert "✓ answers as its original" in text


def test_what_comes_before_a_part_that_cannot_be_read_is_drawn() -> None:
    text = text_of(page.render(documents.classifier(roc=7, data={"rows": "many"})))
    assert "Of 57 malignant, 55 were found" in text
    assert text.count(NOT_DRAWN) == 2
    assert "train.py, SHA-256" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "1"])
def test_what_is_no_number_is_not_drawn(value: object) -> None:
    report = documents.regressor()
    report["evaluation"]["residuals"]["histogram"]["edges"][0] = value
    assert NOT_DRAWN in page.render(report)


@pytest.mark.parametrize("report", [{}, {"manifest": {}}, {"manifest": []}, {"manifest": {"name": "a", "gates": 3, "metrics": {}}}])
def test_what_is_no_report_is_refused(report: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no report that this release reads"):
        page.render(report)
