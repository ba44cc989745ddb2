from pathlib import Path

from contract.model_store import stored_path


def test_a_file_lies_under_its_digest_in_a_folder_of_its_first_two_letters() -> None:
    assert stored_path(Path("/store"), "abcdef") == Path("/store/ab/abcdef")
