"""A network learns a hand: corrections work at once, are kept in a file, and leave no trace."""

import json
from dataclasses import replace

import numpy as np
import pytest
from drawn import canvas
from PIL import Image

import jaxdigits as jd
from jaxdigits.errors import ConfigError, DataError
from jaxdigits.handwriting import (
    Correction,
    Hand,
    correct,
    corrections,
    learn,
    open_hand,
    save_hand,
    teach,
    teaching,
)
from jaxdigits.handwriting.finding import to_image
from jaxdigits.handwriting.teaching import APART, NEARNESS, SAMENESS, STRENGTH, Lesson


@pytest.fixture(scope="module")
def run() -> jd.Run:
    return jd.load("digits")


@pytest.fixture(scope="module")
def digits(run) -> np.ndarray:
    """0 to 9, drawn."""
    inks = [canvas(str(digit), 5, dark=True) for digit in range(10)]
    return np.stack([to_image(ink, run) for ink in inks])


def expected(logits, known, labels):
    """The logits of a taught network by the formula of the module's docstring, in float64."""
    logits, known = np.asarray(logits, np.float64), np.asarray(known, np.float64)

    def unit(rows):
        rows = rows - rows.mean(axis=1, keepdims=True)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    added = np.zeros_like(logits)
    for row, label in zip(known, labels, strict=True):
        away = 1 - unit(logits) @ unit(row[None])[0]
        sure = np.zeros_like(row)
        sure[row.argmax()] = 1
        s = max(NEARNESS, APART / (1 - unit(row[None])[0] @ unit(sure[None])[0]))
        margin = row.max() - row[label] + STRENGTH
        similar = STRENGTH * np.exp(-s * away)
        same = margin * np.exp(-max(s, SAMENESS) * away)
        added[:, label] = np.maximum(added[:, label], np.maximum(similar, same))
    return logits + added


@pytest.mark.parametrize("count", [1, 2, 17])
def test_the_formula(run, digits, count) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 60, (17, 28, 28))
    taught = np.minimum(digits[np.arange(17) % 10] + noise, 255).astype(np.uint8)[:count]
    labels = [(number % 10 + 3) % 10 for number in range(count)]
    hand = Hand.of(run).add(
        Correction(image, str(label), "0") for image, label in zip(taught, labels, strict=True)
    )
    images = np.concatenate([digits, taught])
    np.testing.assert_allclose(
        teach(run, hand).predict_logits(images),
        expected(run.predict_logits(images), run.predict_logits(taught), labels),
        atol=2e-3,
    )


def test_a_corrected_image_is_read_right_and_others_as_before(run, digits) -> None:
    hand = Hand.of(run).add([Correction(digits[3], "8", "3")])
    taught = teach(run, hand)
    before, after = run.predict(digits), taught.predict(digits)
    assert (before[3], after[3]) == (3, 8)
    assert np.delete(after, 3).tolist() == np.delete(before, 3).tolist()
    assert taught.predict_proba(digits)[3, 8] > 0.95
    np.testing.assert_array_equal(run.predict(digits), before)


def test_what_a_taught_network_cannot_do(run, digits, tmp_path) -> None:
    taught = teach(run, Hand.of(run).add([Correction(digits[3], "8", "3")]))
    assert taught.own == ("model", "hand")
    for promise in (jd.handwriting.threshold, jd.handwriting.least_probability):
        with pytest.raises(ConfigError, match="nothing is promised of a taught network"):
            promise(taught, 0.9)
    with pytest.raises(ConfigError, match="is not saved: save the hand"):
        taught.save(tmp_path / "run")
    with pytest.raises(ConfigError, match="cannot be trained further: start from the untaught"):
        jd.fit(jd.TrainConfig(dataset="digits"), init_from=taught)
    assert list(tmp_path.iterdir()) == []


def test_the_last_correction_of_an_image_counts(run, digits) -> None:
    hand = Hand.of(run)
    for name in ("7", "1", "7", "3"):
        hand = hand.add([Correction(digits[4], name, "4")])
        assert [one.name for one in hand.corrections] == [name]
        assert teach(run, hand).predict(digits[4:5]).tolist() == [int(name)]


def test_an_ensemble_is_taught(run, digits) -> None:
    both = jd.stack([run, run])
    taught = teach(both, Hand.of(both).add([Correction(digits[3], "8", "3")]))
    assert taught.predict(digits[3:5]).tolist() == [8, 4]


def test_classes_of_several_letters(run) -> None:
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    named = replace(run, class_names=names)
    page = np.full((160, 280, 3), 250, np.uint8)
    page[30:130, 60:70] = page[30:130, 200:210] = 30
    reading = jd.handwriting.read(page, named, find="strokes")
    found = corrections(reading, "one seven")
    assert [(one.read, one.name) for one in found] == [("one", "seven")]
    with pytest.raises(DataError, match=r"is 2 characters \(one one\), but the text has 1"):
        corrections(reading, "one")


@pytest.mark.parametrize(
    ("correction", "message"),
    [
        (Correction(np.zeros((28, 28), np.uint8), "x", "1"), "a correction says 'x'; the network"),
        (Correction(np.zeros((14, 14), np.uint8), "1", "7"), r"an image of uint8 \[14, 14\]"),
    ],
)
def test_corrections_of_other_networks(run, correction, message) -> None:
    with pytest.raises(DataError, match=message):
        Hand.of(run).add([correction])


def test_a_hand_that_is_written_can_be_read(tmp_path) -> None:
    """However large its images are."""
    hand = Hand(("a", "b"), (20_000, 1_000), "plain")
    one = Correction(np.zeros(hand.image_shape, np.uint8), "a", "b")
    four = [replace(one, image=one.image + number) for number in range(5)]
    save_hand(hand.add(four[:4]), tmp_path / "mine.hand")
    assert len(open_hand(tmp_path / "mine.hand").corrections) == 4
    with pytest.raises(DataError, match="up to 4 corrections"):
        hand.add(four)


def test_what_looks_like_any_other_digit_turns_no_other(run) -> None:
    """The more the network is sure of what it misread, the nearer an image must be."""

    def image(**pixels: int) -> np.ndarray:
        row = np.zeros((1, 28, 28), np.uint8)
        for name, value in pixels.items():
            row[0, 0, int(name[1:])] = value
        return row

    # Its logits are the first ten pixels.
    model = jd.Model(run.model.init, lambda params, images: 20 * images[:, 0, :10])
    known = replace(run, model=model, config=run.config.replace(scale="unit"), params={})
    sure, doubtful = image(_1=255), image(_1=210, _7=190)
    near = {"sure": image(_1=250, _3=4), "doubtful": image(_1=212, _7=186)}

    def taught(one: np.ndarray) -> jd.Run:
        return teach(known, Hand.of(run).add([Correction(one[0], "7", "1")]))

    assert [taught(sure).predict(one)[0] for one in (sure, near["sure"])] == [7, 1]
    assert [taught(doubtful).predict(one)[0] for one in (doubtful, near["doubtful"])] == [7, 7]
    assert [taught(doubtful).predict(one)[0] for one in (sure, near["sure"])] == [1, 1]


def test_corrections_in_any_order_and_taken_back(run, digits) -> None:
    ones = [Correction(digits[1], "7", "1"), Correction(digits[4], "9", "4", "a note")]
    there, back = (
        teach(run, Hand.of(run).add(order)).predict_logits(digits) for order in (ones, ones[::-1])
    )
    np.testing.assert_allclose(there, back, rtol=1e-6)
    hand = Hand.of(run).add(ones)
    assert [one.name for one in hand.without(1).corrections] == ["9"]
    assert [one.name for one in hand.without(2).corrections] == ["7"]
    assert teach(run, hand.without(1).without(1)) is run
    for number in (0, 3):
        with pytest.raises(ConfigError, match=rf"no correction {number}; the hand has 1 to 2"):
            hand.without(number)
    with pytest.raises(ConfigError, match="the hand has no corrections"):
        Hand.of(run).without(1)
    with pytest.raises(DataError, match="up to 1,000 corrections"):
        Hand.of(run).add(ones * 501)  # as many of one image would do


def test_what_was_misread(run) -> None:
    page = np.full((160, 420, 3), 250, np.uint8)
    for number in range(3):
        page[30:130, 60 + 140 * number : 70 + 140 * number] = 30
    reading = jd.handwriting.read(page, run)
    assert reading.text.replace(" ", "") == "111"
    found = corrections(reading, "1 7\n1", "note.png")
    assert [(one.read, one.name, one.source) for one in found] == [
        ("1", "7", "note.png, character 2")
    ]
    np.testing.assert_array_equal(found[0].image, reading.images[1])
    assert corrections(reading, "111") == []
    with pytest.raises(DataError, match=r"3 characters \(111\), but the text has 2"):
        corrections(reading, "17")
    with pytest.raises(ConfigError, match=r"the network knows 0, 1, .* not 'x'"):
        corrections(reading, "1x1")


def test_letters_of_either_case() -> None:
    run = jd.load("letters")
    image = np.zeros((28, 28), np.uint8)
    image[4:24, 13:15] = 255
    found = correct(run, image, "Q", "drawn")
    assert found is not None
    assert (found.name, found.source) == ("q", "drawn")


def test_other_networks_are_refused(run) -> None:
    with pytest.raises(ConfigError, match="networks that know 0, 1"):
        teach(jd.load("letters"), Hand.of(run))
    other = Hand(run.class_names, (14, 14), "plain")
    with pytest.raises(ConfigError, match=r"form plain, \[14, 14\]; the network takes mnist"):
        teach(run, other)


@pytest.fixture
def plain(run) -> jd.Run:
    """A network of three classes, whose logits are the pixels of an image, less 100."""
    model = jd.Model(run.model.init, lambda params, images: 255 * images[:, 0] - 100)
    config = run.config.replace(scale="unit")
    names, shape = ("A", "b", "c"), (1, 3)
    changes = {"model": model, "params": {}, "class_names": names, "image_shape": shape}
    return replace(run, config=config, **changes)


def logits(*pixels: int) -> np.ndarray:
    return np.array([[pixels]], np.uint8)


@pytest.mark.parametrize(
    ("taught", "shown", "margin"),
    [
        ((140, 130, 60), (150, 132, 80), 16),  # similar
        ((140, 130, 60), (143, 132, 62), 16),  # nearly the same
        ((200, 139, 123), (200, 143, 119), 67),  # of which the network is rather sure
        ((200, 132, 128), (204, 135, 129), 74),
    ],
)
def test_what_resembles_a_correction(plain, taught, shown, margin) -> None:
    """By hand: 6 for what is similar, and what it lacked and 6 for the same, which fades faster."""
    hand = Hand.of(plain).add([Correction(logits(*taught)[0], "b", "A")])

    def away(*two: tuple[int, ...]) -> float:
        centered = [np.asarray(one, np.float64) - np.mean(one) for one in two]
        return 1 - float(np.dot(*(one / np.linalg.norm(one) for one in centered)))

    s = max(128, 6 / away(taught, (1, 0, 0)))
    far = away(taught, shown)
    added = max(6 * np.exp(-s * far), margin * np.exp(-max(s, 1000) * far))
    assert 0.1 < added < 0.95 * margin
    found = teach(plain, hand).predict_logits(logits(*shown))
    np.testing.assert_allclose(found, [np.array(shown) - 100 + [0, added, 0]], atol=0.05)


def test_what_is_kept_of_a_network_that_is_taught(plain) -> None:
    """How sure it is, but no promise, no result, and no folder; also if it was never measured."""
    own = replace(plain, own=("loss", "model"), results={"test": {"accuracy": 1.0}})
    assert own.calibration is not None
    hand = Hand.of(plain).add([Correction(logits(1, 2, 3)[0], "A", "c")])
    taught = teach(own, hand)
    assert taught.own == ("loss", "model", "hand")
    assert (taught.results, taught.folder) == ({}, None)
    assert taught.calibration is not None
    assert taught.calibration.temperature == own.calibration.temperature
    assert (taught.calibration.counts, taught.calibration.pages) == (None, None)
    assert own.calibration.counts is not None
    assert teach(replace(own, calibration=None), hand).calibration is None


def test_hands_of_other_images_are_refused(plain) -> None:
    """Of another form, or of another shape alone."""
    for changes in ({"form": "emnist"}, {"image_shape": (3, 1)}):
        with pytest.raises(ConfigError, match="the hand has images of the form"):
            teach(plain, replace(Hand.of(plain), **changes))


def reading_of(run: jd.Run, text: str) -> jd.handwriting.Reading:
    """A reading that says this; what is no class is a sign."""
    ink, names = np.zeros((9, 9), np.uint8), run.class_names
    signs = ["" if name in names else name for name in text]
    labels = [0 if sign else names.index(name) for name, sign in zip(text, signs, strict=True)]
    return jd.handwriting.Reading(
        [jd.handwriting.Character(0, 0, 1, 1, 0, False, ink, sign) for sign in signs],
        np.arange(3 * len(text), dtype=np.uint8).reshape(-1, 1, 3),
        np.eye(3, dtype=np.float32)[labels],
        names,
    )


def test_signs_are_not_learned_and_cases_are_the_same(plain) -> None:
    """A class is named as it is, or in the case that the network knows."""
    reading = reading_of(plain, "A-b.cc")
    found = corrections(reading, "a+C/ Bc")
    assert [(one.read, one.name, one.source) for one in found] == [
        ("b", "c", "character 3"), ("c", "b", "character 5"),
    ]  # fmt: skip
    np.testing.assert_array_equal(found[1].image, [[12, 13, 14]])
    both = replace(plain, class_names=("a", "A", "b"))
    found = corrections(reading_of(both, "aA"), "Aa")
    assert [one.name for one in found] == ["A", "a"]
    found = correct(plain, logits(0, 0, 1)[0], " a ", "drawn")
    assert found is not None
    assert (found.name, found.read, found.source) == ("A", "c", "drawn")
    assert correct(plain, logits(1, 0, 0)[0], "a") is None


def learned(run, monkeypatch, *texts: str, text: str) -> tuple[int, Lesson]:
    """A picture that is read as one text after the other, and then so again and again."""
    times: list[jd.Run] = []

    def read(picture: np.ndarray, run: jd.Run) -> jd.handwriting.Reading:
        del picture
        times.append(run)
        return reading_of(run, texts[min(len(times), len(texts)) - 1])

    monkeypatch.setattr(teaching, "read", read)
    lesson = learn(run, Hand.of(run), np.zeros((4, 4, 3), np.uint8), text)
    return len(times), lesson


def test_a_picture_is_read_again_until_it_is_right(plain, monkeypatch) -> None:
    """Three times at most; it may be found otherwise then, but not from the first."""
    times, lesson = learned(plain, monkeypatch, "bb", "Ab", "AA", text="AA")
    assert (times, lesson.before.text, lesson.after.text) == (3, "bb", "AA")
    assert [(one.read, one.name) for one in lesson.learned] == [("b", "A")] * 3
    assert len(lesson.hand.corrections) == 2  # of one image the last one counts
    times, lesson = learned(plain, monkeypatch, "b", text="A")
    assert (times, len(lesson.learned), lesson.after.text) == (4, 3, "b")
    times, lesson = learned(plain, monkeypatch, "bb", "Abb", text="AA")
    assert (times, len(lesson.learned), lesson.after.text) == (2, 2, "Abb")
    with pytest.raises(DataError, match="is 3 characters"):
        learned(plain, monkeypatch, "Abb", "AA", text="AA")


@pytest.fixture
def one_upstroke(tmp_path):
    """A photo of a 1 whose upstroke makes a 7 of it."""
    page = np.full((200, 200), 250, np.uint8)
    for step in range(60):
        page[60 + step : 70 + step, 130 - step : 140 - step] = 20
    page[60:180, 130:140] = 20
    Image.fromarray(page).save(tmp_path / "one.png")
    return tmp_path / "one.png"


def test_learning_from_a_picture(run, one_upstroke) -> None:
    picture = jd.handwriting.open_picture(one_upstroke)
    lesson = learn(run, Hand.of(run), picture, "1", "one.png")
    assert (lesson.before.text, lesson.after.text) == ("7", "1")
    assert [one.source for one in lesson.learned] == ["one.png, character 1"]
    again = learn(run, lesson.hand, picture, "1")
    assert (again.learned, again.hand) == ([], lesson.hand)


def test_the_commands(cli, one_upstroke, tmp_path) -> None:
    hand, read = tmp_path / "mine.hand", ("predict", one_upstroke, "--hand")
    code, out, err = cli("teach", "digits", one_upstroke, "1", "--hand", hand)
    assert (code, out, err) == (0, "learned: 7 is 1\n1\n", "")
    assert cli(*read, hand)[1].startswith("1 ")
    assert cli("predict", one_upstroke)[1].startswith("7 ")
    code, out, _ = cli("hand", "list", "--hand", hand, "--json")
    assert json.loads(out)["corrections"] == [
        {"read": "7", "is": "1", "source": "one.png, character 1"}
    ]
    assert cli("hand", "list", "--hand", hand)[1] == "   1  7 is 1  one.png, character 1\n"
    assert cli("teach", "digits", one_upstroke, "1", "--hand", hand)[1] == "nothing was misread\n"
    assert cli("hand", "undo", "1", "--hand", hand)[1] == "removed: 7 is 1\n"
    assert cli("hand", "list", "--hand", hand)[1] == "nothing yet\n"
    assert cli(*read, hand)[1].startswith("7 ")


def test_a_hand_beside_a_promise(cli, one_upstroke, tmp_path) -> None:
    hand = tmp_path / "mine.hand"
    assert cli("teach", "digits", one_upstroke, "7", "--hand", hand)[1] == "nothing was misread\n"
    assert cli("predict", one_upstroke, "--hand", hand, "--error-rate", "0.1")[0] == 0
    cli("teach", "digits", one_upstroke, "1", "--hand", hand)
    for option in ("--error-rate", "--set"):
        code, out, err = cli("predict", one_upstroke, "--hand", hand, option, "0.1")
        assert (code, out) == (2, "")
        assert "omit the hand, or --error-rate and --set" in err


def test_the_name_of_a_picture_may_be_anything(cli, one_upstroke, tmp_path) -> None:
    odd = tmp_path / "b\udcff\x1b[2J\n.png"
    odd.write_bytes(one_upstroke.read_bytes())
    hand = tmp_path / "mine.hand"
    assert cli("teach", "digits", odd, "1", "--hand", hand)[0] == 0
    assert cli("hand", "list", "--hand", hand)[1] == "   1  7 is 1  b??[2J?.png, character 1\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("teach", "digits", "{one}", "12"),
            "1 character (7), but the text has 2",
        ),
        (("teach", "digits", "{one}", "x"), "the network knows 0, 1"),
        (("teach", "digits", "{none}", "1"), "there is no file"),
        (("hand", "list"), "there is no file my.hand; `jaxdigits teach` writes one"),
        (("hand", "list", "--hand", "{one}"), "is not a file of corrections, or damaged"),
        (("hand", "undo", "1", "--hand", "{one}"), "is not a file of corrections, or damaged"),
        (("hand", "undo", "x"), "invalid int value"),
        (("predict", "{one}", "--hand", "{none}"), "`jaxdigits teach` writes one"),
    ],
)
def test_bad_input(cli, one_upstroke, tmp_path, monkeypatch, words, message) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"one": one_upstroke, "none": tmp_path / "none.png"}
    code, out, err = cli(*(word.format(**names) for word in words))
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["one.png"]
