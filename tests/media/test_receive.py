"""RTP order: the output is in order, keeps its timeline, and is counted."""

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.receive import Lost, Opus, RtpOrder, Segment, Silence, opus_samples

FRAME = 960
TOC_20_MS = bytes([0b11111_0_00])
"""The first byte of a 20 ms CELT packet with one frame (RFC 6716, section 3.1)."""


@dataclass
class RtpPacket:
    """The fields that RtpOrder reads."""

    sequence_number: int
    timestamp: int
    ssrc: int = 1
    payload: bytes = TOC_20_MS


def packet(number: int, *, first: int = 65530, ssrc: int = 1) -> RtpPacket:
    """Make packet `number` of a stream whose two counters wrap soon."""
    return RtpPacket(
        sequence_number=(first + number) & 0xFFFF,
        timestamp=(0xFFFFF000 + number * FRAME) & 0xFFFFFFFF,
        ssrc=ssrc,
        payload=TOC_20_MS + number.to_bytes(4, "big"),
    )


def length(segment: Segment) -> int:
    """Tell how many samples a segment stands for."""
    return opus_samples(segment.payload) if isinstance(segment, Opus) else segment.samples


def numbers(segments: list[Segment]) -> list[int]:
    """Tell which packets came out, in order."""
    return [int.from_bytes(s.payload[1:], "big") for s in segments if isinstance(s, Opus)]


def test_packets_in_order_come_out_at_once() -> None:
    """Nothing waits if nothing is missing, even when both counters wrap."""
    order = RtpOrder()
    for number in range(20):
        assert numbers(order.push(packet(number), number * 0.02)) == [number]
    assert order.counts.received == 20 and order.counts.lost == 0


def test_two_swapped_packets_come_out_in_order() -> None:
    """A reordered packet is waited for, and nothing counts as lost."""
    order = RtpOrder()
    out = [s for n in (0, 2, 1, 3) for s in order.push(packet(n), n * 0.02)]
    assert numbers(out) == [0, 1, 2, 3]
    assert (order.counts.reordered, order.counts.lost) == (1, 0)


def test_a_lost_packet_is_given_up_after_two_more() -> None:
    """A loss is declared when two packets wait behind it, and can be restored from the next."""
    order = RtpOrder()
    order.push(packet(0), 0.0)
    assert order.push(packet(2), 0.04) == []
    out = order.push(packet(3), 0.06)
    assert isinstance(out[0], Lost) and out[0].samples == FRAME
    assert out[0].following == packet(2).payload
    assert numbers(out) == [2, 3]


def test_a_lost_packet_is_given_up_after_10_ms() -> None:
    """Where nothing has come out of order, a gap ends before the next packet comes."""
    order = RtpOrder()
    order.push(packet(0), 0.0)
    assert order.gap_ends is None
    assert order.push(packet(2), 0.04) == []
    assert order.gap_ends is not None and 0.0499 < order.gap_ends < 0.0501
    assert order.pop(0.049) == []
    assert [length(s) for s in order.pop(0.051)] == [FRAME, FRAME]


@pytest.mark.parametrize("late_by", [0.015, 0.2])
def test_where_packets_come_out_of_order_they_are_waited_for(late_by: float) -> None:
    """It waits 1.5 times as long as the last packet was late, at most 60 ms, and less later."""
    order = RtpOrder()
    order.push(packet(0), 0.0)
    order.push(packet(2), 0.04)
    order.pop(0.051)
    order.push(packet(1), 0.04 + late_by)
    assert order.counts.late == 1
    order.push(packet(4), 0.5)
    wait_s = (order.gap_ends or 0) - 0.5
    assert abs(wait_s - min(0.06, 1.5 * late_by)) < 0.001
    assert numbers(order.push(packet(3), 0.51)) == [3, 4]
    for number in range(5, 4000):
        order.push(packet(number), number * 0.02)
    order.push(packet(4001), 100.0)
    assert abs((order.gap_ends or 0) - 100.01) < 0.001


def test_late_and_duplicate_packets_are_counted_and_left_out() -> None:
    """A packet that was given up on, or already heard, does not come out again."""
    order = RtpOrder()
    for number in (0, 2, 2, 3, 4, 1, 4):
        order.push(packet(number), number * 0.02)
    assert (order.counts.duplicate, order.counts.late, order.counts.lost) == (1, 2, 1)


def test_a_pause_of_the_sender_becomes_silence() -> None:
    """DTX: sequence numbers continue while the timestamp jumps; the timeline keeps the jump."""
    order = RtpOrder()
    order.push(packet(0), 0.0)
    later = packet(1)
    later.timestamp = (later.timestamp + 5 * FRAME) & 0xFFFFFFFF
    out = order.push(later, 0.12)
    assert out[0] == Silence(5 * FRAME) and isinstance(out[1], Opus)


def test_a_new_source_starts_a_new_timeline() -> None:
    """Another SSRC is a new source, not the old one after a gap of hours."""
    order = RtpOrder()
    order.push(packet(0), 0.0)
    out = order.push(packet(700, ssrc=2), 0.02)
    assert numbers(out) == [700] and order.counts.lost == 0


def test_stragglers_of_the_former_source_do_not_bring_it_back() -> None:
    """Packets that were under way when the source changed are late; after a silence it may come."""
    order = RtpOrder()
    order.push(packet(0, ssrc=1), 0.0)
    order.push(packet(0, ssrc=2), 0.02)
    assert order.push(packet(1, ssrc=1), 0.03) == [] and order.counts.late == 1
    assert numbers(order.push(packet(1, ssrc=2), 0.04)) == [1] and order.source == 2
    assert numbers(order.push(packet(60, ssrc=1), 0.4)) == [60] and order.source == 1


def test_a_pause_between_two_sources_is_kept_as_silence() -> None:
    """The timeline is the publisher's, whatever their timestamps say."""
    order = RtpOrder()
    order.push(packet(0, ssrc=1), 0.0)
    assert order.push(packet(500, ssrc=2), 3.0)[0] == Silence(round(2.98 * 48000))
    assert not any(isinstance(s, Silence) for s in order.push(packet(9, ssrc=3), 3.05))


def test_empty_packets_carry_no_sound() -> None:
    """A packet with only padding keeps the order and adds no sound."""
    order = RtpOrder()
    order.push(packet(0), 0.0)
    probe = packet(1)
    probe.payload, probe.timestamp = b"", packet(0).timestamp
    assert order.push(probe, 0.01) == []
    following = packet(2)
    following.timestamp = packet(1).timestamp
    assert numbers(order.push(following, 0.02)) == [2]


def test_a_clock_that_goes_fast_loses_nothing() -> None:
    """Half a percent for 20 minutes, fifty times worse than a bad crystal."""
    order = RtpOrder()
    for number in range(60_000):
        order.push(packet(number), number * 0.02 / 1.005)
    assert (order.counts.received, order.counts.ahead) == (60_000, 0)


JUMPS = st.one_of(st.integers(0, 20), st.integers(0, 2**32 - 1))


@given(
    moves=st.lists(
        st.tuples(
            st.floats(0, 0.1), st.integers(0, 70_000), JUMPS,
            st.sampled_from([1, 1, 1, 2]), st.binary(max_size=4),
        ),
        max_size=300,
    )
)  # fmt: skip
def test_no_client_makes_time_go_faster(
    moves: list[tuple[float, int, int, int, bytes]],
) -> None:
    """Whatever numbers, timestamps, sources and lengths come: at most 15 s ahead of time."""
    order, now, sequence, timestamp, out = RtpOrder(), 0.0, 0, 0, 0
    for waited, step, jump, ssrc, payload in moves:
        now, sequence = now + waited, (sequence + step) & 0xFFFF
        timestamp = (timestamp + jump * FRAME) & 0xFFFFFFFF
        segments = order.push(RtpPacket(sequence, timestamp, ssrc, payload), now)
        out += sum(length(segment) for segment in segments)
        assert out <= 48000 * (15 + 1.01 * now) + 1


def test_a_pause_in_every_packet_is_left_out() -> None:
    """10 s of silence in each packet would fill a disk at 48 MB a second."""
    order, out = RtpOrder(), 0
    for number in range(50):
        jumping = packet(number)
        jumping.timestamp = number * 9 * 48000
        out += sum(length(segment) for segment in order.push(jumping, number * 0.02))
    assert out <= 17 * 48000 and order.counts.ahead >= 45


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), loss=st.floats(0, 0.4), jitter=st.floats(0, 0.05))
def test_the_timeline_neither_shrinks_nor_grows(seed: int, loss: float, jitter: float) -> None:
    """Whatever is lost, late or swapped, as many samples come out as were sent, in order."""
    dice = random.Random(seed)
    sent = [n for n in range(200) if n in (0, 199) or dice.random() >= loss]
    arrivals = sorted((n * 0.02 + dice.random() * jitter, n) for n in sent)
    order = RtpOrder()
    order.push(packet(0), 0.0)
    out: list[Segment] = [Opus(packet(0).payload)]
    for at, number in arrivals:
        while (ends := order.gap_ends) is not None and ends <= at:
            out += order.pop(ends)
        if number:
            out += order.push(packet(number), at)
    out += order.pop(1e9)
    assert sum(map(length, out)) == 200 * FRAME
    assert numbers(out) == sorted(numbers(out))
