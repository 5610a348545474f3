"""Blocks of ports: never shared between labs, freed with their owner."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from fluxdrill.cluster import ports
from fluxdrill.cluster.ports import BLOCK, HOST, PortBlock, is_free, reserve
from fluxdrill.errors import HarnessError
from tests.processes import line, python, running, wait_until

OWNER = "from fluxdrill.cluster.ports import reserve\nblock = reserve(); print(block.first); input()"


def listen(port: int) -> socket.socket:
    server = socket.socket()
    server.bind((HOST, port))
    server.listen()
    return server


@pytest.fixture
def few_blocks(monkeypatch: pytest.MonkeyPatch) -> int:
    """Two blocks far from those of real labs; return the first port."""
    monkeypatch.setattr(ports, "FIRST", 32000)
    monkeypatch.setattr(ports, "BLOCKS", 2)
    return 32000


def test_two_reservations_share_no_port(few_blocks: int) -> None:
    one, two = reserve(), reserve()
    try:
        taken = [block.take() for block in (one, two) for _ in range(BLOCK - 1)]
        assert len(set(taken)) == 2 * (BLOCK - 1)
        assert not {one.first, two.first} & set(taken)
    finally:
        one.release()
        two.release()


def test_no_block_left_is_said_and_a_released_one_is_free_again(few_blocks: int) -> None:
    one, two = reserve(), reserve()
    with pytest.raises(HarnessError, match="No free block of ports is left"):
        reserve()
    one.release()
    one.release()
    again = reserve()
    assert again.first == one.first
    again.release()
    two.release()


def test_another_process_cannot_take_the_same_block_whatever_its_runtime_folder(tmp_path: Path) -> None:
    mine = reserve()
    try:
        with running(python(OWNER), env={"FLUXDRILL_RUNTIME": str(tmp_path)}) as other:
            assert int(line(other.stdout)) != mine.first
    finally:
        mine.release()


def test_a_block_is_freed_when_its_owner_is_killed() -> None:
    with running(python(OWNER)) as owner:
        first = int(line(owner.stdout))
        assert not is_free(first)
        owner.kill()
        wait_until(lambda: is_free(first))


def test_a_port_that_became_busy_is_passed_over(few_blocks: int) -> None:
    block = reserve()
    with listen(few_blocks + 2):
        assert [block.take(), block.take()] == [few_blocks + 1, few_blocks + 3]
    block.release()


@pytest.mark.parametrize("busy", [0, 1, BLOCK - 1])
def test_a_block_with_a_busy_port_is_passed_over(few_blocks: int, busy: int) -> None:
    with listen(few_blocks + busy):
        block = reserve()
        assert block.first == few_blocks + BLOCK
        block.release()


def test_a_port_that_somebody_listens_on_everywhere_is_busy() -> None:
    with socket.socket() as server:
        server.bind(("0.0.0.0", 0))
        server.listen()
        port = server.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)


def test_a_used_up_block_says_so() -> None:
    with socket.socket() as holder:
        block = PortBlock(65000 - BLOCK, holder)
        for _ in range(BLOCK - 1):
            block.take()
        with pytest.raises(HarnessError, match="All ports of this lab's block are busy"):
            block.take()
