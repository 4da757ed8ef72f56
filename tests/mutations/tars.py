"""The bytes of a tar. A sample is a jpg, a txt and a json; a shard holds four."""

from __future__ import annotations

from tests.mutations.catalog import found
from tests.mutations.planting import Output, append, cut, end_of, flip


@found({"00000.tar": "wrong_checksum"})
def payload_byte_flipped(output: Output) -> None:
    flip(output.tar(), output.members()[0].offset_data)


@found({"00000.tar": "wrong_checksum"}, {"00000.tar": "bad_header wrong_count wrong_key"})
def header_byte_flipped(output: Output) -> None:
    flip(output.tar(), output.members()[4].offset)


@found({"00000.tar": "wrong_checksum"})
def padding_byte_flipped(output: Output) -> None:
    member = output.members()[0]
    assert member.size % 512
    flip(output.tar(), member.offset_data + member.size)


@found({"00000.tar": "wrong_checksum"}, {"00000.tar": "bad_header"})
def byte_of_first_end_block_flipped(output: Output) -> None:
    flip(output.tar(), end_of(output))


@found({"00000.tar": "wrong_checksum"}, {"00000.tar": "truncated"})
def byte_of_second_end_block_flipped(output: Output) -> None:
    flip(output.tar(), end_of(output) + 512)


@found({"00000.tar": "wrong_checksum"}, {"00000.tar": "trailing_data"})
def last_byte_of_tar_flipped(output: Output) -> None:
    flip(output.tar(), -1)


@found({"00000.tar": "wrong_size"})
def tar_shortened_by_a_byte(output: Output) -> None:
    cut(output.tar(), -1)


@found({"00000.tar": "wrong_size"})
def tar_shortened_by_a_block(output: Output) -> None:
    cut(output.tar(), -512)


@found({"00000.tar": "wrong_size"}, {"00000.tar": "truncated"})
def tar_cut_before_its_end_blocks(output: Output) -> None:
    cut(output.tar(), end_of(output))


@found({"00000.tar": "wrong_size"}, {"00000.tar": "truncated wrong_count wrong_key"})
def tar_cut_between_samples(output: Output) -> None:
    cut(output.tar(), output.members()[6].offset)


@found({"00000.tar": "wrong_size"}, {"00000.tar": "truncated wrong_count wrong_key"})
def tar_cut_inside_a_payload(output: Output) -> None:
    cut(output.tar(), output.members()[3].offset_data + 100)


@found({"00000.tar": "wrong_size"}, {"00000.tar": "truncated wrong_count wrong_key"})
def tar_emptied(output: Output) -> None:
    cut(output.tar(), 0)


@found({"00000.tar": "wrong_size"})
def zeros_appended_to_tar(output: Output) -> None:
    append(output.tar(), bytes(10_240))


@found({"00000.tar": "wrong_size"}, {"00000.tar": "trailing_data"})
def another_tar_appended_to_tar(output: Output) -> None:
    append(output.tar(), output.tar(1).read_bytes())
