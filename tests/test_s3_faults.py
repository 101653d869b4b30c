"""Faults between bams3 and S3: right answers or an exit code that says why; kills, races, stores replaced."""

import random
import threading
import time

import pytest
from commands import run, run_apart, start
from s3_faults import (
    BUCKET,
    CI,
    CREDENTIALS,
    Place,
    Scenario,
    ask_all,
    convert_all,
    is_tidy,
    make_source,
    questions,
    what_is_wrong,
)
from s3_faults import scenarios as all_scenarios
from s3_servers import Fault, FaultProxy, moto_server
from s3_soak import kill_and_finish

from bams3.errors import Bams3Error
from bams3.query import open_store
from bams3.resume import _parse, _render
from bams3.store import S3Options

pytestmark = pytest.mark.engine
SCENARIOS = all_scenarios(0.06)
#: botocore slows down for long where it is told to: one burst is enough here.
SCENARIOS["503 in bursts"] = Scenario(
    (Fault("error", code="SlowDown", after=20, probability=0.1, burst=3, count=3),)
)
OTHER_CUTS = ("--chunk-size", "300K", "--chunk-records", "700")


@pytest.fixture(scope="module", autouse=True)
def _credentials():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_MAX_ATTEMPTS", "5")  # bursts are shorter; what always fails should fail soon
        yield


@pytest.fixture(scope="module")
def s3():
    with moto_server() as server:
        server.make_bucket(BUCKET)
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def source(folder):
    return make_source(folder / "in.bam", CI)


@pytest.fixture
def place(s3, folder, source, tmp_path):
    with FaultProxy(s3.url) as proxy:
        yield Place(s3, proxy, source, folder, tmp_path)


# ---- questions and conversions ----


@pytest.mark.parametrize("name", SCENARIOS)
def test_under_faults_every_answer_is_right_or_none(place, name):
    tally = ask_all(place, SCENARIOS[name], questions(CI, 1, 40))
    assert tally.wrong == []
    if name.endswith("always"):
        assert tally.exit_3 + tally.exit_4 >= 10
    else:
        assert tally.right >= 30


@pytest.mark.parametrize("name", SCENARIOS)
def test_under_faults_a_conversion_makes_the_right_store_or_none(place, name):
    tally = convert_all(place, SCENARIOS[name], 2)
    assert tally.wrong == []
    assert tally.right + tally.exit_3 + tally.exit_4 == 2


def test_bytes_that_are_wrong_once_are_asked_for_again(place):
    tally = ask_all(place, SCENARIOS["wrong bytes once"], questions(CI, 2, 20))
    assert (tally.right, tally.wrong) == (20, [])


def test_bytes_that_are_always_wrong_are_told_as_damage(place):
    address = place.upload("damaged/sample.bams3")
    question = (
        "query",
        *place.by_proxy,
        "-u",
        "-o",
        place.scratch / "answer.bam",
        address,
        "chr1:10000-90000",
    )
    for path in ("/data/", "/_index-", "_metadata.json"):
        place.proxy.set(Fault("wrong-bytes", path=path))
        done = run(*question)
        assert done.code == 3, done
    place.proxy.set()
    assert run(*question).code == 0


# ---- lost answers ----


@pytest.mark.parametrize("count", [1, None], ids=["once", "always"])
@pytest.mark.parametrize("force", [False, True], ids=["new", "force"])
def test_a_conversion_whose_last_answer_is_lost_is_done(place, count, force):
    name = f"lost-{count}-{force}/sample.bams3"
    address = f"s3://{BUCKET}/{name}"
    if force:
        done = run("convert", "--quiet", *place.by_proxy, *OTHER_CUTS, place.source, address)
        assert done.code == 0, done.err
    place.proxy.set(Fault("lost", methods=("PUT",), path="_metadata.json", count=count))
    place.proxy.clear()
    options = ["--force"] * force
    done = run("convert", "--quiet", *options, *place.by_proxy, *place.options, place.source, address)
    assert done.code == 0, done.err
    assert what_is_wrong(place, name, is_done=True) == ""
    puts = [row for row in place.proxy.log() if row.method == "PUT" and row.path.endswith("_metadata.json")]
    assert len(puts) >= 2
    assert puts[0].fault == "lost"


def test_a_conversion_that_cannot_tidy_up_leaves_a_whole_store(place):
    name = "untidy/sample.bams3"
    place.proxy.set(Fault("reset", methods=("POST",)))
    done = run("convert", "--quiet", *place.by_proxy, *place.options, place.source, f"s3://{BUCKET}/{name}")
    assert (done.code, is_tidy(done)) == (0, False), done.err
    assert what_is_wrong(place, name, is_done=True, is_tidy=False) == ""
    assert [key for key in place.found(name) if key.startswith("_resume/")]


# ---- kills ----


def test_conversions_that_are_killed_go_on_and_send_no_finished_span_again(place):
    place.proxy.set(Fault("latency", seconds=0.02))
    chance, n_objects = random.Random(3), len(place.expected)
    moments = [chance.randint(n_objects // 2, n_objects + 9) for _ in range(5)]
    kills = [kill_and_finish(place, "killed/sample.bams3", moment) for moment in moments]
    assert [one.problem for one in kills] == [""] * 5, kills
    assert [one.put_again for one in kills] == [[]] * 5
    assert any(one.was_killed for one in kills)
    assert any(one.resumed for one in kills), kills


def test_notes_that_do_not_follow_each_other_are_not_believed(place):
    """Two conversions at once, or one that was killed while it went on, may leave such."""
    name = "gap/sample.bams3"
    address = f"s3://{BUCKET}/{name}"
    place.proxy.set(Fault("error", code="AccessDenied", methods=("PUT",), path="_metadata.json"))
    arguments = ("convert", "--quiet", *place.by_proxy, *place.options, place.source, address)
    assert run(*arguments).code == 2
    place.proxy.set()
    keys = sorted(key for key in place.found(name) if key.startswith("_resume/"))
    spans = [span for key in keys for span in _parse(place.body(f"{name}/{key}"))]
    assert len(spans) >= 10
    for key in keys:
        place.client.delete_object(Bucket=BUCKET, Key=f"{name}/{key}")
    for number, some in enumerate((spans[:2], spans[2:3], spans[6:9])):
        key = f"{name}/{keys[0].rpartition('/')[0]}/{number:08d}.json"
        place.client.put_object(Bucket=BUCKET, Key=key, Body=_render(some))
    done = run(*arguments)
    assert done.code == 0, done.err
    assert what_is_wrong(place, name, is_done=True) == ""


# ---- two at once ----


@pytest.mark.parametrize("lead", [0.0, 0.3])
@pytest.mark.parametrize("other", ["same", "options"])
def test_of_two_conversions_at_once_one_wins_and_the_other_says_so(place, other, lead):
    name = f"raced-{other}-{lead}/sample.bams3"
    address = f"s3://{BUCKET}/{name}"
    second = place if other == "same" else place.with_options(OTHER_CUTS)
    place.proxy.set(Fault("latency", seconds=0.01))
    processes = []
    for one in (place, second):
        arguments = ("convert", "--quiet", *one.by_proxy, *one.options, one.source, address)
        processes.append(start(*arguments))
        threading.Event().wait(lead)
    words = [process.communicate(timeout=60)[1] for process in processes]
    codes = [process.returncode for process in processes]
    assert sorted(codes) == [0, 2], words
    assert "[output-exists]" in words[codes.index(2)]
    winner = (place, second)[codes.index(0)]
    assert what_is_wrong(winner, name, is_done=True) == ""
    assert run("verify", "--quiet", *place.by_proxy, address).code == 0


def test_of_two_forced_conversions_at_once_one_at_least_wins(place):
    name = "forced/sample.bams3"
    address = f"s3://{BUCKET}/{name}"
    several = [place, place.with_options(OTHER_CUTS)]
    assert run("convert", "--quiet", *place.by_proxy, place.source, address).code == 0
    processes = [
        start("convert", "--quiet", "--force", *one.by_proxy, *one.options, one.source, address)
        for one in several
    ]
    words = [process.communicate(timeout=60)[1] for process in processes]
    codes = [process.returncode for process in processes]
    assert set(codes) <= {0, 2}, words
    assert 0 in codes
    wrong = [what_is_wrong(one, name, is_done=True) for one in several]
    assert "" in wrong, wrong
    assert run("verify", "--quiet", *place.by_proxy, address).code == 0


# ---- readers while a store is replaced ----


class Readers:
    """Threads that ask a store all the time, within ``with``; each answer must be one of those expected."""

    def __init__(self, address, s3, stores, regions):
        self._address, self._s3, self._regions = address, s3, regions
        readers = [open_store(str(store)) for store in stores]
        self._expected = {region: [answer_of(reader, region) for reader in readers] for region in regions}
        self._stop = threading.Event()
        self.answers = [0] * len(stores)
        self.changed = 0
        self.wrong = []

    def __enter__(self):
        self._threads = [threading.Thread(target=self._run, args=(seed,)) for seed in range(8)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def wait_for(self, store):
        """Until some answers were of this one; at most a minute, after which the test tells."""
        late = time.monotonic() + 60
        while self.answers[store] < 8 and not self.wrong and time.monotonic() < late:
            time.sleep(0.05)

    def _run(self, seed):
        chance = random.Random(seed)
        while not self._stop.is_set():
            try:
                reader = open_store(self._address, self._s3)
                for _ in range(chance.randint(1, 4)):
                    region = chance.choice(self._regions)
                    self._take(region, answer_of(reader, region))
            except Bams3Error as err:
                if (err.exit_code, err.kind) == (4, "store-changed"):
                    self.changed += 1
                else:
                    self.wrong.append(f"{err} [{err.kind}]")
            except Exception as err:  # noqa: BLE001 - told by the test
                self.wrong.append(repr(err))

    def _take(self, region, said):
        if said in self._expected[region]:
            self.answers[self._expected[region].index(said)] += 1
        else:
            self.wrong.append(f"{region}: the answer of no store")


def answer_of(reader, region):
    """A count, all records, and the depth of a region."""
    records = b"".join(reader.records([reader.region(region)]))
    return reader.count(region), records, reader.depth(region).tobytes()


def test_readers_of_a_store_that_is_replaced_get_the_old_answer_or_the_new_one(place, folder):
    several = [place]
    for seed in (2, 3):
        source = make_source(folder / f"{seed}.bam", CI, seed)
        several.append(Place(place.s3, place.proxy, source, folder, place.scratch))
    address = place.upload("replaced/sample.bams3")
    regions = ["chr1:100001-110000", "chr1:900001-930000", "chr2:1-5000", "chr3:400001-480000"]
    locals_ = [one.local for one in several]
    place.proxy.set(Fault("latency", seconds=0.005))
    with Readers(address, S3Options(place.proxy.url), locals_, regions) as readers:
        readers.wait_for(0)
        for number, one in enumerate(several[1:], 1):
            done = run_apart(
                "convert", "--quiet", "--force", *one.by_proxy, *one.options, one.source, address
            )
            assert done.code == 0, done.err
            readers.wait_for(number)
    assert readers.wrong == []
    assert all(readers.answers), readers.answers
    assert what_is_wrong(several[-1], "replaced/sample.bams3", is_done=True) == ""
