"""What squeue, sacct and sbatch print is read, and merged into what is known: absent is never failed."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physlab_mcp.backends.slurm.accounting import (
    MOST_IDS,
    Place,
    Row,
    estimate,
    found,
    read_sacct,
    read_squeue,
    refused,
    sacct_argv,
    squeue_argv,
    submitted,
)
from physlab_mcp.backends.slurm.merging import Known, merge
from physlab_mcp.backends.slurm.states import FINAL, KNOWN
from physlab_mcp.errors import RejectedError, UnavailableError

TOKEN = "physlab:sub-1"
NOW = 10_000.0


def queued(*fields: str) -> str:
    return "\x1e" + "\x1f".join(fields) + "\n"


# As Slurm 22.05.8 printed them.
QUEUE = (
    queued("4", "3-99%3", "4", "PENDING", "JobArrayTaskLimit", "1795282861", "N/A", "N/A", "work", "", TOKEN, TOKEN)
    + queued("4", "0", "5", "RUNNING", "None", "1795282861", "1795282861", "1795283161", "work", "n1", TOKEN, TOKEN)
    + queued(
        "1", "N/A", "1", "COMPLETED", "None", "1795282854", "1795282854", "1795282855", "work", "n1", "s.sh", "(null)"
    )
)


def accounted(*fields: str) -> str:
    return "\x1f".join(fields) + "\n"


ACCOUNTS = (
    accounted("4_0", "RUNNING", "0:0", "1795282861", "1795282861", "Unknown", "work", "n1", "None", TOKEN, "")
    + accounted(
        "4_[3-99%3]", "PENDING", "0:0", "1795282861", "Unknown", "Unknown", "work", "None assigned", "None", TOKEN, ""
    )
    + accounted("23", "REQUEUED", "0:0", "1795282863", "1795282864", "1795282865", "work", "n1", "None", "wrap", "")
    + accounted("30", "CANCELLED by 1004", "0:15", "1", "2", "3", "work", "n1", "None", "wrap", "")
)


def test_the_queue_is_read_with_arrays_expanded():
    rows = read_squeue(QUEUE).rows
    assert [(row.job_id, len(row.indices), row.array, row.state, row.reason) for row in rows] == [
        (4, 97, True, "PENDING", "JobArrayTaskLimit"),
        (4, 1, True, "RUNNING", ""),
        (1, 0, False, "COMPLETED", ""),
    ]
    assert (rows[0].submitted_at, rows[0].started_at, rows[1].nodes, rows[1].number) == (1795282861.0, 0.0, "n1", 5)
    assert (rows[0].token, rows[2].token) == (TOKEN, "")


def test_accounting_is_read():
    rows = read_sacct(ACCOUNTS).rows
    assert [(row.job_id, row.indices[:2], row.state) for row in rows] == [
        (4, (0,), "RUNNING"), (4, (3, 4), "PENDING"), (23, (), "REQUEUED"), (30, (), "CANCELLED"),
    ]  # fmt: skip
    assert rows[3].by_uid == 1004
    assert rows[0].token == TOKEN  # accounting has not the comment of a job that is there
    assert rows[1].nodes == ""


def test_names_and_comments_of_other_jobs_do_no_harm():
    odd = queued("9", "N/A", "9", "RUNNING", "None", "5", "5", "N/A", "work", "n1", "a|b\nc d", "x\x1fy\n\x1e z")
    told = read_squeue(odd + QUEUE)
    assert [row.job_id for row in told.rows] == [9, 4, 4, 1]
    assert told.unread == 1  # what the record separator in the comment cut off
    told = read_sacct("9\x1fRUNNING\x1fhalf a\nrow\n" + ACCOUNTS)
    assert ([row.job_id for row in told.rows], told.unread) == ([4, 4, 23, 30], 2)


@given(st.text(max_size=200))
def test_no_text_breaks_the_parsers(text):
    read_squeue("\x1e" + text)
    read_sacct(text)
    read_squeue(QUEUE + text)
    estimate(text)


def test_a_list_cut_by_slurm_may_be_about_any_index():
    cut = queued("4", "0,2,...", "4", "PENDING", "Priority", "5", "N/A", "N/A", "work", "", TOKEN, TOKEN)
    row = read_squeue(cut).rows[0]
    assert (row.whole, row.is_about(0), row.is_about(77), row.is_about(None)) == (False, True, True, False)


def test_one_sacct_serves_any_number_of_jobs():
    few, many = sacct_argv([7, 3], 0.0), sacct_argv(range(MOST_IDS + 1), 1795282861.4)
    assert few[few.index("--jobs") + 1] == "3,7"
    assert "--jobs" not in many
    assert "--user=ada" in squeue_argv("ada")
    assert "--me" in squeue_argv()


@pytest.mark.parametrize(
    ("text", "answer"),
    [("17\n", (17, "")), ("17;mars\n", (17, "mars")), ("Welcome to Mars!\n17;mars\n", (17, "mars"))],
)
def test_the_answer_of_sbatch_is_read(text, answer):
    assert submitted(text) == answer


@pytest.mark.parametrize("text", ["", "Submitted batch job 17", "17\n18\n", "seventeen"])
def test_an_answer_that_names_no_job_is_not_guessed_at(text):
    with pytest.raises(UnavailableError, match="names no job"):
        submitted(text)


@pytest.mark.parametrize(
    ("stderr", "kind", "sent"),
    [
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)", UnavailableError, False),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", UnavailableError, True),
        ("sbatch: error: Batch job submission failed: slurm_msg_sendto: address:port=127.0.0.1:6817 msg_type=4003: No error",
         UnavailableError, True),
        ("sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying", UnavailableError, False),
        (("sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS "
         "policy (job submit limit, user's size and/or time limits)"), UnavailableError, False),
        (("sbatch: error: QOSMaxWallDurationPerJobLimit\nsbatch: error: Batch job submission failed: Job violates "
         "accounting/QOS policy (job submit limit, user's size and/or time limits)"), RejectedError, None),
        ("sbatch: error: Batch job submission failed: Requested node configuration is not available", RejectedError, None),
        ("", RejectedError, None),
    ],
)  # fmt: skip
def test_a_refusal_of_sbatch_tells_whether_to_try_again(stderr, kind, sent):
    error = refused(stderr)
    assert type(error) is kind
    assert (error.details[0]["sent"] if error.details else None) is sent


def test_the_estimate_is_read():
    text = "sbatch: Job 9 to start at 1795282862 using 4 processors on nodes n[1-2] in partition gpu\n"
    told = estimate(text)
    assert told is not None
    assert (told.start_at, told.partition, told.nodes, told.processors) == (1795282862.0, "gpu", "n[1-2]", 4)
    assert estimate("allocation failure: Requested node configuration is not available") is None


def test_jobs_are_found_by_their_token_and_two_of_one_are_both_told():
    rows = [
        Row(job_id=7, state="PENDING", submitted_at=20, name=TOKEN),
        Row(job_id=5, state="PENDING", submitted_at=10, comment=TOKEN, name="renamed"),
        Row(job_id=5, state="NODE_FAIL", submitted_at=9, name=TOKEN),
        Row(job_id=6, state="PENDING", submitted_at=10, name="physlab:sub-10"),
    ]
    assert found([TOKEN, "physlab:sub-2"], rows) == {TOKEN: [Place(5, 9), Place(7, 20)]}


# -- merging -----------------------------------------------------------------------------------------------------


def known(**more) -> Known:
    return Known(**{"cluster": "mars", "job_id": 7, "token": TOKEN, "submitted_at": 100.0, **more})


def row(state: str, **more) -> Row:
    return Row(**{"job_id": 7, "state": state, "submitted_at": 100.0, "name": TOKEN, **more})


def merged(one: Known, queue, accounts, now: float = NOW, **more) -> Known:
    return merge({"k": one}, queue, accounts, now, **more)["k"]


def test_what_the_queue_says_counts():
    told = merged(
        known(unknown_since=5.0, missing_since=5.0), [row("RUNNING", nodes="n1", started_at=110.0)], [row("PENDING")]
    )
    assert (told.state, told.nodes, told.seen_at, told.unknown_since, told.missing_since, told.final) == (
        "RUNNING", "n1", NOW, 0.0, 0.0, False,
    )  # fmt: skip


def test_an_end_in_the_queue_takes_its_exit_status_from_accounting():
    told = merged(known(), [row("FAILED", reason="NonZeroExitCode")], [row("FAILED", exit_code="3:0")])
    assert (told.state, told.final, told.exit_code) == ("FAILED", True, "3:0")


def test_gone_from_the_queue_and_not_yet_accounted_is_unknown_since_then():
    told = merged(known(state="RUNNING"), [], [])
    assert (told.state, told.final, told.missing, told.unknown_since, told.missing_since) == (
        "RUNNING", False, False, NOW, NOW,
    )  # fmt: skip
    assert merged(told, [], [], NOW + 5).unknown_since == NOW


def test_accounting_that_still_says_running_is_not_believed_and_not_read_as_an_end():
    told = merged(known(state="RUNNING"), [], [row("RUNNING")])
    assert (told.final, told.unknown_since) == (False, NOW)
    assert "accounting does not know its end" in told.why
    assert merged(told, [], [row("COMPLETED", exit_code="0:0")], NOW + 5).final


def test_a_purged_job_is_missing_after_a_while_and_never_failed():
    one = known(state="RUNNING")
    for at in range(0, 700, 100):
        one = merged(one, [], [], NOW + at)
        assert not one.final
    assert (one.missing, one.state, one.missing_since) == (False, "RUNNING", NOW)
    one = merged(one, [], [], NOW + 601)
    assert (one.missing, one.final, one.state) == (True, False, "RUNNING")
    back = merged(one, [row("RUNNING")], [], NOW + 605)
    assert (back.missing, back.missing_since, back.unknown_since) == (False, 0.0, 0.0)


def test_a_controller_that_is_down_makes_no_job_missing():
    one = known(state="RUNNING")
    for at in range(0, 3000, 100):
        one = merged(one, None, [], NOW + at)
    assert (one.missing, one.missing_since, one.unknown_since, one.state) == (False, 0.0, NOW, "RUNNING")
    assert one.why == "the queue cannot be asked"


def test_while_the_controller_is_down_accounting_may_tell_an_end_or_a_start():
    assert merged(known(), None, [row("COMPLETED")]).final
    started = merged(known(), None, [row("RUNNING", started_at=120.0)])
    assert (started.state, started.started_at, started.final, started.unknown_since) == ("RUNNING", 120.0, False, NOW)


def test_without_accounting_a_job_that_left_the_queue_is_sought_later():
    told = merged(known(state="RUNNING"), [], None)
    assert (told.final, told.missing, told.why) == (
        False,
        False,
        "it is not in the queue, and there is no accounting to ask",
    )
    assert merged(told, [], None, NOW + 601).missing


@pytest.mark.parametrize("other", [{"name": "physlab:sub-2"}, {"name": "wrap"}, {"submitted_at": 50.0}])
def test_a_reused_id_is_another_job(other):
    told = merged(known(state="RUNNING"), [row("COMPLETED", **other)], [row("FAILED", **other)])
    assert (told.state, told.final, told.missing_since) == ("RUNNING", False, NOW)


def test_queued_again_is_the_same_job_with_a_new_submit_time():
    accounts = [row("NODE_FAIL", ended_at=200.0), row("PENDING", submitted_at=200.0)]
    told = merged(known(state="RUNNING"), [row("PENDING", reason="BeginTime", submitted_at=200.0)], accounts)
    assert (told.state, told.reason, told.again, told.final, told.submitted_at) == (
        "PENDING",
        "BeginTime",
        1,
        False,
        100.0,
    )


@pytest.mark.parametrize("state", ["NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "REQUEUED"])
def test_an_end_after_which_slurm_may_start_it_again_is_not_believed_at_once(state):
    ended = row(state, ended_at=NOW - 5)
    assert not merged(known(state="RUNNING", seen_at=NOW - 5), [], [ended]).final
    late = merged(known(state="RUNNING", seen_at=NOW - 5), [], [ended], NOW + 100)
    assert late.final is (state != "REQUEUED")
    assert not merged(known(state="RUNNING"), None, [ended], NOW + 100).final  # nobody says that it left the queue
    assert merged(known(state="RUNNING"), [ended], [ended]).final is (state in FINAL)  # the controller's own word


def test_each_element_of_an_array_has_its_own_state():
    ours = {str(i): known(index=i) for i in range(6)}
    queue = [
        row("PENDING", array=True, indices=(3, 4), reason="JobArrayTaskLimit"),
        row("RUNNING", array=True, indices=(2,)),
    ]
    accounts = [row("COMPLETED", array=True, indices=(0,)), row("CANCELLED", array=True, indices=(1, 2), by_uid=0)]
    told = merge(ours, queue, accounts, NOW)
    assert {key: (one.state, one.final) for key, one in told.items()} == {
        "0": ("COMPLETED", True), "1": ("CANCELLED", True), "2": ("RUNNING", False), "3": ("PENDING", False),
        "4": ("PENDING", False), "5": ("PENDING", False),
    }  # fmt: skip
    assert (told["3"].unknown_since, told["5"].unknown_since) == (0.0, NOW)


def test_a_cut_list_speaks_for_an_index_that_no_other_row_names():
    queue = [row("PENDING", array=True, indices=(3,), whole=False), row("RUNNING", array=True, indices=(9,))]
    told = merge({str(i): known(index=i) for i in (3, 8, 9)}, queue, [], NOW)
    assert {key: one.state for key, one in told.items()} == {"3": "PENDING", "8": "PENDING", "9": "RUNNING"}
    assert all(one.unknown_since == 0.0 for one in told.values())


rows = st.builds(
    Row, job_id=st.sampled_from([7, 8]), state=st.sampled_from([*sorted(KNOWN), "NEW_STATE"]),
    submitted_at=st.sampled_from([50.0, 100.0, 200.0]), name=st.sampled_from([TOKEN, "physlab:sub-2", "wrap"]),
    ended_at=st.sampled_from([0.0, 150.0, NOW]),
)  # fmt: skip
answers = st.none() | st.lists(rows, max_size=4)


@given(st.lists(st.tuples(answers, answers), max_size=8))
def test_a_job_ends_only_by_a_word_of_slurm_about_itself_and_then_stays_ended(history):
    one = known()
    for step, (queue, accounts) in enumerate(history):
        new = merged(one, queue, accounts, NOW + step)
        if one.final:
            assert new == one
        elif new.final:
            own = [told for told in [*(queue or []), *(accounts or [])] if told.job_id == 7 and told.token == TOKEN]
            assert any(told.state == new.state and told.submitted_at >= 100.0 for told in own)
            assert new.state in FINAL
        if new.unknown_since and not one.unknown_since:
            assert new.unknown_since == NOW + step
        assert (new.job_id, new.token, new.submitted_at) == (one.job_id, one.token, one.submitted_at)
        one = new


def test_a_final_one_is_not_asked_for_again():
    ended = msgspec.structs.replace(known(), state="COMPLETED", final=True)
    assert merged(ended, [row("RUNNING")], [row("FAILED")]) == ended
