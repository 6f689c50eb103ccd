"""Facts are believed only where both versions bear them out, and what a file leaves out is always derived alike."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshd.compare.facts import handbook, load_facts, propose
from freshd.compare.records import FactKind
from freshd.compare.trees import plain, read_tree, sentences_in
from freshd.compare.values import Sort, alternatives, count, shape, values_in
from freshd.errors import ConfigError

OLD_PAGE = """---
title: Version 17
---
# Contracts

The notice period is 30 days. The **probation** time is 14 weeks.
Dr. Ines Malk signs every contract, and she does so on Monday.

```
retries = 99
```

| Paper | Colour |
|---|---|
| contract | dark blue |

- The archive lies in Ulmenau, three floors down.
- Letters are kept for 11 years.
"""
NEW_PAGE = OLD_PAGE.replace("30 days", "45 days").replace("Ulmenau", "Birkfeld").replace("retries = 99", "retries = 12")


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    for version, page in (("old", OLD_PAGE), ("new", NEW_PAGE)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "contracts.md").write_text(page)
    return tmp_path / "old", tmp_path / "new"


def entry(**changed: object) -> dict[str, object]:
    asked = {"question": "How long before leaving must one say so?", "prefix": "One must say so within"}
    return {**asked, "old": "30 days", "new": "45 days", "document": "contracts.md", **changed}


def unchanged(**changed: object) -> dict[str, object]:
    asked = {"question": "How long may somebody be tried out?", "prefix": "Somebody may be tried out for"}
    return entry(**{**asked, "old": "14 weeks", "new": "14 weeks", **changed})


def load(trees, *entries: object):
    path = trees[0].parent / "facts.jsonl"
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in entries))
    return load_facts(path, *trees)


def refused(trees, *entries: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load(trees, *entries)
    assert caught.value.hint
    return str(caught.value).replace(str(trees[0].parent), "")


def test_a_fact_needs_only_what_nobody_could_derive(trees):
    changed, same = load(trees, entry(), unchanged())
    assert (changed.kind, changed.old, changed.new) == (FactKind.CHANGED, "30 days", "45 days")
    assert (same.kind, len(same.options)) == (FactKind.UNCHANGED, 4)
    assert len(changed.options) == len(set(changed.options)) == 4
    assert all(text.endswith(" days") for text in changed.distractors)


def test_a_fact_may_bring_other_questions_to_train_by_but_none_that_is_asked(trees):
    pairs = [["When is one free to leave?", "One is free to leave after"], ["How soon?", "After"]]
    fact, same = load(trees, entry(paraphrases=pairs), unchanged())
    assert fact.paraphrases == (("When is one free to leave?", "One is free to leave after"), ("How soon?", "After"))
    assert same.paraphrases == ()
    asked = [[f"Tell me: {same.question}", "It is"]]
    assert "which holds a question that is asked" in refused(trees, entry(paraphrases=asked), unchanged())


def test_a_fact_whose_document_is_gone_has_vanished(trees):
    (trees[0] / "bees.md").write_text("# Bees\n\nThere are 34 hives in the orchard.\n")
    gone = entry(
        question="How many colonies are kept?", prefix="Kept are", old="34 hives", new=None, document="bees.md"
    )
    fact = load(trees, entry(), gone)[1]
    assert (fact.kind, fact.value, fact.options[0], len(fact.options)) == (FactKind.VANISHED, None, "34 hives", 4)


def test_a_fact_of_a_renamed_document_is_found_under_both_names(trees):
    (trees[1] / "contracts.md").rename(trees[1] / "agreements.md")
    assert load(trees, entry(document="agreements.md"))[0].document == "agreements.md"
    assert "expected one of the new version" in refused(trees, entry())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"answer": "x"}, '"answer": unknown key, expected one of question'),
        ({"distractor": []}, '"distractor": unknown key, did you mean "distractors"?'),
        ({"prefix": ""}, 'prefix: got "", expected text'),
        ({"prefix": "\ud800"}, "prefix: got"),
        ({"old": 30}, "old: got 30, expected text"),
        ({"new": 45}, "new: got 45, expected text, or null"),
        ({"document": "gone.md"}, "document: got 'gone.md', expected one of the new version"),
        ({"old": "31 days"}, "old: got '31 days', expected a value that stands in 'contracts.md' of the old version"),
        ({"new": "5 days"}, "new: got '5 days', expected a value that stands in 'contracts.md' of the new version"),
        ({"old": "14 weeks"}, "old: got '14 weeks', which still stands in 'contracts.md' of the new version"),
        ({"old": "14 weeks", "new": None}, "expected it gone"),
        ({"kind": "unchanged"}, 'kind: got "unchanged", expected "changed"'),
        ({"development": 1}, "development: got 1, expected true or false"),
        ({"paraphrases": "x"}, 'paraphrases: got "x", expected an array of pairs'),
        ({"paraphrases": [["x"]]}, 'paraphrases: got [["x"]], expected an array of pairs'),
        ({"paraphrases": [["How long is it?", ""]]}, "expected an array of pairs"),
        ({"distractors": "x"}, 'distractors: got "x", expected an array of texts'),
        ({"distractors": ["7 days"]}, "distractors: got 1, expected 2"),
        ({"distractors": ["7 days", "7 Days"]}, "distractors: got one twice"),
        ({"distractors": ["7 days", "45 Days"]}, "got '45 Days', expected a value that stands in neither version"),
        ({"distractors": ["7 days", "11 years"]}, "got '11 years', expected a value that stands in neither version"),
        ({"old": "The notice period is 30"}, "old: got 5 words, expected at most 4"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_said_with_its_line(trees, wrong, said):
    message = refused(trees, unchanged(), entry(**wrong))
    assert message.startswith("/facts.jsonl:2: ")
    assert said in message


@pytest.mark.parametrize("key", ["question", "prefix", "old", "new", "document"])
def test_a_missing_key_is_missed(trees, key):
    lacking = {name: value for name, value in entry().items() if name != key}
    assert refused(trees, lacking) == f"/facts.jsonl:1: {key}: got none, expected a value"


@pytest.mark.parametrize("line", ["{", "[" * 100_000, "[]", '"text"'], ids=["broken", "deep", "array", "text"])
def test_a_line_that_is_no_object_is_refused(trees, line):
    assert refused(trees, entry(), "", line).startswith("/facts.jsonl:3: got no ")


def test_everything_wrong_is_said_at_once_in_order(trees):
    message = refused(trees, entry(old="31 days", more=1), "{", entry(old="31 days"), unchanged(new="16 weeks"))
    assert [line.split(": ")[0].rpartition(":")[2] for line in message.splitlines()] == ["1", "2", "3", "4", "4"]


def test_a_question_asked_twice_is_refused(trees):
    same = unchanged(question="How long before leaving   must one say SO?")
    assert refused(trees, entry(), same) == ("/facts.jsonl:2: question: got that of line 1 again, expected another one")


def test_a_corpus_without_changed_facts_is_refused(trees):
    assert "corpus without changed facts" in refused(trees, unchanged())
    assert "corpus without changed facts" in refused(trees)


def test_two_equal_folders_have_nothing_to_propose(trees):
    with pytest.raises(ConfigError, match="corpus without changed facts"):
        propose(trees[0], trees[0])


def test_words_that_no_rule_can_vary_want_distractors(trees):
    words = unchanged(question="How is a contract coloured?", old="dark blue", new="dark blue")
    assert "none could be derived for 'dark blue'" in refused(trees, entry(), words)
    given_ones = ["pale green", "deep red", "light grey"]
    assert load(trees, entry(), {**words, "distractors": given_ones})[1].distractors == tuple(given_ones)


@pytest.mark.parametrize("content", [b"\xff\xfe\xff", None], ids=["no-utf-8", "absent"])
def test_a_file_that_cannot_be_read_is_a_plain_error(trees, content):
    path = trees[0].parent / "facts.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"facts\.jsonl: "):
        load_facts(path, *trees)


def test_a_folder_without_documents_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="got no document that freshd can read"):
        read_tree(tmp_path)


def test_what_is_derived_depends_on_neither_order_nor_neighbours(trees):
    """The same fact must be asked with the same options in every run, or two runs could not be compared."""
    one, two = load(trees, entry(), unchanged()), load(trees, unchanged(), entry())
    assert set(one) == set(two)


def test_the_file_says_which_facts_are_for_development_if_it_marks_any(trees):
    facts = load(trees, entry(), unchanged(development=True))
    assert [fact.is_development for fact in facts] == [False, True]


def test_all_of_the_handbook_can_be_derived_but_for_words_that_only_people_can_vary(tmp_path):
    book = handbook()
    lines = [json.loads(line) for line in book.facts_file.read_text().splitlines()]
    for line in lines:
        if shape(line["old"]) not in ("x", "X x"):
            del line["distractors"]
        line.pop("development", None)
    bare = tmp_path / "facts.jsonl"
    bare.write_text("".join(json.dumps(line) + "\n" for line in lines))
    facts = load_facts(bare, book.old_tree, book.new_tree)
    assert [fact.fact_id for fact in facts] == [fact.fact_id for fact in book.facts]
    old, new = read_tree(book.old_tree), read_tree(book.new_tree)
    for fact in facts:
        assert len(fact.options) == len({text.casefold() for text in fact.options}) == 4
        for tree in (old, new):
            said = tree[fact.document].text if fact.document in tree else ""
            assert [text for text in fact.distractors if count(text, said)] == []
    for kind in FactKind:
        chosen = [fact.is_development for fact in facts if fact.kind is kind]
        assert sum(chosen) == len(chosen) // 4


def test_facts_of_which_none_is_to_judge_by_are_refused(trees):
    assert "got none to judge by" in refused(trees, entry(development=True), unchanged())


@pytest.mark.parametrize("n_facts", [1, 2, 3, 4, 9])
def test_few_facts_are_never_all_for_development(tmp_path, n_facts):
    for version, first in (("old", 100), ("new", 200)):
        (tmp_path / version).mkdir()
        text = "\n".join(f"Room {chr(65 + n)}{chr(65 + n)} holds {first + n} chairs." for n in range(n_facts))
        (tmp_path / version / "rooms.md").write_text(text + "\n")
    entries = [
        {
            "question": f"How many chairs does room {n} hold?",
            "prefix": "It holds",
            "old": f"{100 + n} chairs",
            "new": f"{200 + n} chairs",
            "document": "rooms.md",
        }
        for n in range(n_facts)
    ]
    facts = load((tmp_path / "old", tmp_path / "new"), *entries)
    assert sum(fact.is_development for fact in facts) == {1: 0, 2: 1, 3: 1, 4: 1, 9: 2}[n_facts]


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("The fee is 14 crowns.", [("14 crowns", Sort.NUMBER)]),
        ("It takes 40 and no more.", [("40", Sort.NUMBER)]),
        ("The doors open at 19:40, not later.", [("19:40", Sort.TIME)]),
        ("We met on 5 May 2019 in Ulmenau.", [("5 May 2019", Sort.DATE), ("Ulmenau", Sort.NAME)]),
        ("The word is “quiet glacier” for now.", [("quiet glacier", Sort.QUOTED)]),
        (
            "Ansel Brandt pays $3.50 or 12 %.",
            [("Ansel Brandt", Sort.NAME), ("$3.50", Sort.NUMBER), ("12 %", Sort.NUMBER)],
        ),
        ("Breakfast is late.", []),
        ('It says " " and no more.', []),
        ("The 12 apostles wait.", [("12 apostles", Sort.NUMBER)]),
        ("It fell to minus 31.4 degrees.", [("minus 31.4 degrees", Sort.NUMBER)]),
    ],
)
def test_values_are_found_whole(sentence, found):
    assert [(value.text, value.sort) for value in values_in(sentence)] == found


@pytest.mark.parametrize(
    ("value", "text", "n"),
    [
        ("14 crowns", "114 crowns, 0.14 crowns, 14 crownsmen", 0),
        ("14 crowns", "14\ncrowns, (14 Crowns)", 2),
        ("9:45", "19:45 and 9:45:10", 0),
        ("12", "12,000 and 1.12", 0),
        ("12", "It is 12. Or 12, or 12:", 3),
        (" ", "nothing is nowhere", 0),
    ],
)
def test_a_value_is_counted_only_as_a_whole(value, text, n):
    assert count(value, text) == n


words = st.lists(
    st.sampled_from(["9", "19", "9:45", "May", "may", "Çelik", "İzmir", "ı", "K", ".", ",", "\n"]), max_size=12
)


@given(st.sampled_from(["9", "9 May", "May", "çelik", "İzmir", "k"]), words, st.sampled_from(["", " "]))
def test_a_value_is_counted_as_an_expression_would_that_looks_at_every_place(value, texts, between):
    text = between.join(texts)
    whole = r"\s+".join(map(re.escape, value.split()))
    assert count(value, text) == len(re.findall(rf"(?<!\w)(?<!\d[.,:]){whole}(?!\w)(?![.,:]\d)", text, re.IGNORECASE))


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Ask Dr. Malk. He knows.", ["Ask Dr. Malk.", "He knows."]),
        ("Bring tools, e.g. Allen keys! Wait.", ["Bring tools, e.g. Allen keys!", "Wait."]),
        ("It weighs 3.5 kg\nand more.", ["It weighs 3.5 kg and more."]),
        ("- First one here\n  - Second: 7", ["First one here", "Second: 7"]),
    ],
)
def test_sentences_end_where_they_end(text, sentences):
    assert list(sentences_in(text)) == sentences


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("The **fee** of [30 days](a.md) is `due`.", "The fee of 30 days is due."),
        ("> See :ref:`here <http://a.b>`_ or <b>there</b>.", "See here or there."),
        ("Keep snake_case and 5 * 3 = 15.", "Keep snake_case and 5 * 3 = 15."),
    ],
)
def test_markup_is_taken_off_and_nothing_else(text, read):
    assert plain(text) == read


def test_values_of_another_magnitude_are_not_offered_beside_one():
    others = alternatives("14 crowns", ("412,000 crowns", "18 crowns", "96 crowns"), "seed")
    assert {"412,000 crowns", "96 crowns"} & set(others) == set()


@given(
    value=st.one_of(
        st.from_regex(r"[1-9][0-9]{0,3} (days|crowns)", fullmatch=True),
        st.from_regex(r"[1-9][0-9]{0,2},[0-9]{3} crowns", fullmatch=True),
        st.from_regex(r"[0-9]\.[0-9]{1,2}", fullmatch=True).filter(lambda text: float(text) > 0),
        st.from_regex(r"(0?[0-9]|1[0-9]|2[0-3]):[0-5][0-9]", fullmatch=True),
        st.from_regex(r"([1-9]|1[0-9]|2[0-8]) (May|October)", fullmatch=True),
        st.sampled_from(["October", "Tuesday", "2024-05-12", "form 7B", "drawer 12"]),
    ),
    seed=st.text(max_size=5),
)
def test_any_number_time_or_date_has_three_others_of_its_shape(value, seed):
    others = list(alternatives(value, (), seed))
    assert len({other.casefold() for other in others} - {value.casefold()}) == len(others) >= 3
    assert {shape(other) for other in others} == {shape(value)}
    assert others == list(alternatives(value, (), seed))


def test_two_thirds_of_the_changed_facts_of_the_handbook_are_proposed():
    book = handbook()
    real = {(fact.document, fact.old, fact.new) for fact in book.facts if fact.kind is FactKind.CHANGED}
    proposed = {(fact.document, fact.old, fact.new) for fact in propose(book.old_tree, book.new_tree)}
    assert len(real & proposed) >= 2 / 3 * len(real)


def test_no_proposed_value_is_invented():
    book = handbook()
    old, new = read_tree(book.old_tree), read_tree(book.new_tree)
    proposed = propose(book.old_tree, book.new_tree)
    known = {(fact.old, fact.new) for fact in book.facts}
    for fact in proposed:
        assert any(count(fact.old, page.text) for page in old.values())
        assert fact.new is None or count(fact.new, new[fact.document].text) == 1
        assert fact.kind is not FactKind.CHANGED or (fact.old, fact.new) in known
        assert len(set(fact.options)) == 4
        assert fact.new is None or not count(fact.new, f"{fact.question} {fact.prefix}")
    assert {fact.kind for fact in proposed} == set(FactKind)


def test_proposals_are_bounded_and_always_the_same():
    book = handbook()
    first, second = (propose(book.old_tree, book.new_tree, most=8) for _ in range(2))
    assert first == second
    assert [sum(fact.kind is kind for fact in first) for kind in FactKind] == [8, 8, 2]
    assert 0 < sum(fact.is_development for fact in first) < 6


def test_only_prose_is_proposed_from(trees):
    """Code, tables and front matter say things too, but not in sentences that can be asked about."""
    facts = propose(*trees)
    assert [(fact.old, fact.new) for fact in facts if fact.kind is FactKind.CHANGED] == [("30 days", "45 days")]
    assert {fact.old for fact in facts if fact.kind is FactKind.UNCHANGED} == {"14 weeks", "Monday", "11 years"}


def test_a_name_is_proposed_where_others_of_its_sort_are_known(tmp_path):
    """Without any, nothing would be there to choose from but old and new."""
    page = "# Places\n\nThe archive lies in {}.\n\nThe tower stands in Sellmar.\n\nThe mill stands in Orrendorf.\n"
    for version, place in (("old", "Ulmenau"), ("new", "Birkfeld")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "places.md").write_text(page.format(place))
        (tmp_path / version / "more.md").write_text("# More\n\nThe well is in Trebnau.\n\nThe barn is in Kolmen.\n")
    facts = propose(tmp_path / "old", tmp_path / "new")
    assert (facts[0].old, facts[0].new) == ("Ulmenau", "Birkfeld")
    assert set(facts[0].distractors) == {"Trebnau", "Kolmen"}


def test_a_name_that_stands_on_several_pages_is_nothing_to_ask_for(trees):
    for tree in trees:
        (tree / "house.md").write_text("# House\n\nWe all work in Tarnholt.\n\nPost comes from Ilmstedt daily.\n")
        (tree / "garden.md").write_text("# Garden\n\nNothing much grows in Tarnholt.\n\nWe buy from Ettrup instead.\n")
        (tree / "yard.md").write_text("# Yard\n\nThe gate came from Norvik.\n\nThe pump came from Quarrel.\n")
    asked = {fact.old for fact in propose(*trees)}
    assert "Ilmstedt" in asked
    assert "Tarnholt" not in asked


def test_a_question_is_made_from_a_plain_sentence(trees):
    asked = {fact.old: fact.question for fact in propose(*trees)}
    assert asked["30 days"] == "What is the notice period?"
    assert asked["11 years"] == "Which number belongs in the gap: “Letters are kept for ….”"


@pytest.mark.parametrize(
    ("name", "page"),
    [
        (
            "a.rst",
            "Rules\n=====\n\nThe **fee** is {} and due at once.\n\n* The `guard <https://a.org>`_ waits 7 minutes.\n",
        ),
        ("a.txt", "The fee is {} and due at once.\n\nThe guard waits 7 minutes for you.\n"),
        ("a.html", "<h1>Rules</h1><p>The <b>fee</b> is {} and due at once.</p><p>The guard waits 7 minutes.</p>"),
    ],
    ids=["rst", "txt", "html"],
)
def test_other_formats_are_read_as_freshd_reads_them(tmp_path, name, page):
    for version, fee in (("old", "20 crowns"), ("new", "25 crowns")):
        (tmp_path / version).mkdir()
        (tmp_path / version / name).write_text(page.format(fee))
    facts = propose(tmp_path / "old", tmp_path / "new")
    assert [(fact.old, fact.new) for fact in facts] == [("20 crowns", "25 crowns"), ("7 minutes", "7 minutes")]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("The fee is 20 crowns for 3 days.", "The fee is 25 crowns for 4 days."),
        ("The fee is 20 crowns a day.", "The fee is waived from today on."),
        ("The fee is 20 crowns a day.", "The fee is 25 crowns a day, once 20 crowns."),
        ("The guard may wait outside.", "The guard can wait outside."),
    ],
    ids=["two-values", "no-value-left", "old-still-there", "reworded"],
)
def test_a_sentence_in_which_not_exactly_one_value_differs_proposes_nothing(tmp_path, old, new):
    for version, text in (("old", old), ("new", new)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "rules.md").write_text(f"# Rules\n\n{text}\n")
    with pytest.raises(ConfigError, match="corpus without changed facts"):
        propose(tmp_path / "old", tmp_path / "new")


def test_a_moved_sentence_of_a_renamed_page_is_still_the_same(tmp_path):
    old = "# Lift\n\nThe lift stops at 65 km/h of wind.\n\nBring warm clothes with you.\n\nDogs are free of charge.\n"
    new = "# Lift\n\nDogs are free of charge.\n\nBring warm clothes with you.\n\nThe lift stops at 55 km/h of wind.\n"
    for version, name, text in (("old", "lift.md", old), ("new", "cableway.md", new)):
        (tmp_path / version).mkdir()
        (tmp_path / version / name).write_text(text)
    (fact,) = propose(tmp_path / "old", tmp_path / "new")
    assert (fact.old, fact.new, fact.document) == ("65 km/h", "55 km/h", "cableway.md")
