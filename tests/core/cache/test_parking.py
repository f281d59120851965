"""States of prompts, kept in memory and in files."""

import numpy as np
import pytest

from aiadmin_core.cache.forgetting import forget
from aiadmin_core.cache.parking import Folder, Parking

RUN = 4


def tokens(*values):
    return np.array(values, np.int32)


def state(text, start):
    """Bytes that tell what they are of."""
    return np.frombuffer(text[start : start + RUN].tobytes().ljust(100, b"."), np.uint8)


def park(parking, text, *, key="model"):
    while (start := parking.missing(key, text)) < len(text):
        if not parking.put(key, text, start, state(text, start)):
            break


def found(parking, text, *, key="model"):
    """How many tokens of `text` there are, all states read and checked."""
    n = 0
    for part in parking.match(key, text):
        data = parking.read(part)
        if data is None:
            break
        assert bytes(data)[: 4 * part.n] == text[n : n + part.n].tobytes()
        n += part.n
    return n


@pytest.fixture
def open_parking(tmp_path):
    def open_parking(*, max_bytes=10_000, max_disk=10_000, model="model"):
        return Parking(run=RUN, max_bytes=max_bytes, folder=Folder(tmp_path / model, max_disk))

    return open_parking


LONG = tokens(*range(10))


def test_it_is_found_again(open_parking):
    parking = open_parking()
    park(parking, LONG)

    assert found(parking, LONG) == 10
    assert found(parking, tokens(0, 1, 2, 3, 4, 9)) == 5
    assert found(parking, LONG, key="other") == 0
    assert parking.n_bytes == 300


def test_what_does_not_fit_into_memory_goes_to_files(open_parking, tmp_path):
    parking = open_parking(max_bytes=150)
    park(parking, LONG)

    assert parking.n_bytes == 100
    assert len(list(tmp_path.glob("model/*.parcel"))) == 2
    assert found(parking, LONG) == 10


def test_without_files_it_is_gone(tmp_path):
    parking = Parking(run=RUN, max_bytes=150)
    park(parking, LONG[:4])
    park(parking, tokens(9, 9, 9, 9))

    assert found(parking, LONG) == 0
    assert found(parking, tokens(9, 9, 9, 9)) == 4


def test_prompts_that_come_once_do_not_push_out_what_many_begin_with():
    parking = Parking(run=RUN, max_bytes=500)
    park(parking, LONG[:4])
    for _ in range(3):
        parking.touch(parking.match("model", LONG[:4]))
    for n in range(100, 110):
        park(parking, tokens(n, n, n, n))

    assert found(parking, LONG) == 4
    assert found(parking, tokens(109, 109, 109, 109)) == 4
    assert parking.n_bytes <= 500


def test_what_was_popular_and_is_not_asked_for_any_more_goes_in_the_end():
    parking = Parking(run=RUN, max_bytes=500)
    park(parking, LONG[:4])
    for _ in range(1000):
        parking.touch(parking.match("model", LONG[:4]))
    for n in range(100, 200):
        park(parking, tokens(n, n, n, n))

    assert found(parking, LONG) == 0


def test_a_restart_loses_nothing(open_parking):
    parking = open_parking()
    park(parking, LONG)
    parking.close(within_s=10)

    again = open_parking()

    assert again.n_bytes == 0
    assert found(again, LONG) == 10


def test_what_grew_leaves_no_file_of_what_it_was(open_parking, tmp_path):
    parking = open_parking(max_bytes=50)
    park(parking, LONG[:5])
    park(parking, LONG[:7])

    assert len(list(tmp_path.glob("model/*.parcel"))) == 2
    assert found(open_parking(), LONG[:7]) == 7


@pytest.mark.parametrize("damage", ["cut", "flip a bit", "empty", "foreign", "gone"])
def test_damaged_files_are_not_used(open_parking, tmp_path, damage):
    """What comes before is, and what follows is not; all of it can be parked anew."""
    parking = open_parking()
    park(parking, LONG)
    parking.close(within_s=10)
    middle = next(path for path in tmp_path.glob("model/*.parcel") if state(LONG, 4).tobytes() in path.read_bytes())
    whole = middle.read_bytes()
    if damage == "gone":
        middle.unlink()
    else:
        flipped = whole[:-1] + bytes([whole[-1] ^ 1])
        middle.write_bytes({"cut": whole[:-10], "flip a bit": flipped, "empty": b"", "foreign": b"GGUF" * 99}[damage])

    again = open_parking()

    assert found(again, LONG) == 4
    park(again, LONG)
    assert found(again, LONG) == 10
    again.close(within_s=10)
    assert found(open_parking(), LONG) == 10


def test_no_flipped_byte_keeps_a_model_from_being_opened(open_parking, tmp_path):
    """Wherever it is: what cannot be read is not used, and a text of the head that is no UTF-8 any more is no error."""
    parking = open_parking()
    park(parking, LONG)
    parking.close(within_s=10)
    whole = {path: path.read_bytes() for path in tmp_path.glob("model/*.parcel")}
    first = next(path for path, data in whole.items() if state(LONG, 0).tobytes() in data)

    for index in range(len(whole[first])):
        for path, data in whole.items():
            path.write_bytes(data)
        first.write_bytes(whole[first][:index] + bytes([whole[first][index] ^ 0x80]) + whole[first][index + 1 :])
        assert found(open_parking(), LONG) == 0


def test_a_file_that_another_has_taken_the_place_of_meanwhile_is_not_used(open_parking, tmp_path):
    """It is whole, and of other tokens."""
    other = tokens(*range(50, 54))
    parking = open_parking(max_bytes=0)
    park(parking, LONG[:4])
    park(parking, other)
    files = {path.read_bytes()[-100:]: path for path in tmp_path.glob("model/*.parcel")}
    wrong = files[state(other, 0).tobytes()].read_bytes()

    files[state(LONG, 0).tobytes()].write_bytes(wrong)

    assert found(parking, LONG[:4]) == 0
    assert found(parking, other) == 4


def test_who_waits_for_a_state_that_another_has_replaced_reads_anew():
    """It was matched, and before it was read its prompt had grown, or the budget had been spent on others."""
    parking = Parking(run=RUN, max_bytes=300)
    text = tokens(1, 2, 3, 4, 5, 6)
    park(parking, text)
    expected = parking.match("model", text)

    park(parking, tokens(1, 2, 3, 4, 5, 6, 7, 8))
    assert parking.read(expected[1]) is None
    park(parking, tokens(*range(50, 70)))
    assert parking.read(expected[0]) is None
    assert found(parking, tokens(*range(50, 70))) >= RUN


def test_the_files_of_all_models_stay_within_one_budget(open_parking, tmp_path):
    """Each is some 100 bytes of state and as many of header."""
    for model in ("one", "two", "three"):
        parking = open_parking(max_disk=1000, model=model)
        park(parking, LONG)
        parking.close(within_s=10)

    assert sum(path.stat().st_size for path in tmp_path.glob("*/*.parcel")) <= 1000
    assert found(open_parking(model="three"), LONG) == 10


def test_a_full_disk_is_no_error(open_parking, tmp_path):
    (tmp_path / "model").write_text("a file where the folder should be")
    parking = open_parking(max_bytes=150)
    park(parking, LONG)
    parking.close(within_s=10)

    assert parking.n_bytes <= 150


def test_salts_are_not_written_down(open_parking, tmp_path):
    parking = open_parking()
    park(parking, LONG, key="a secret salt")
    parking.close(within_s=10)

    assert all(b"secret" not in path.read_bytes() for path in tmp_path.glob("model/*"))


def test_what_is_kept_of_a_model_can_be_forgotten(tmp_path):
    """Another one's stays, and so does what nobody has signed."""
    for name, model in (("a", "sha256:1"), ("b", "sha256:2"), ("c", "sha256:1"), ("d", "")):
        folder = Folder(tmp_path / name, 1 << 20, model=model)
        parking = Parking(run=4, max_bytes=0, folder=folder)
        park(parking, tokens(1, 2, 3, 4))
    forget(tmp_path, "sha256:1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "d"]
    assert len(list((tmp_path / "b").glob("*.parcel"))) == 1
    forget(tmp_path, "")
    forget(tmp_path / "nowhere", "sha256:2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "d"]


def test_a_file_that_cannot_be_written_keeps_no_other_from_it(open_parking, tmp_path):
    """Something else lies where it belongs."""
    other = tokens(*range(50, 58))
    parking = open_parking()
    park(parking, LONG)
    park(parking, other)
    first = parking.match("model", other)[0].node.value.digest
    (tmp_path / "model" / f"{first}.parcel" / "x").mkdir(parents=True)

    parking.close(within_s=10)

    again = open_parking()
    assert found(again, LONG) == 10
    assert found(again, other) == 0
