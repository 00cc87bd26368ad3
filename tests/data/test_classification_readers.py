"""Readers of labelled videos, on trees written here and on the official files."""

from __future__ import annotations

import logging

import pytest

from modist_det.data.catalog import DatasetCatalog
from modist_det.data.datasets import (
    HMDB51Dataset,
    KineticsDataset,
    SSv2Dataset,
    UCF101Dataset,
    VideoListDataset,
)
from modist_det.utils.errors import UserError
from tests.files import write


@pytest.fixture
def ucf(tmp_path):
    return write(
        tmp_path / "ucf101",
        {
            "ucfTrainTestlist/classInd.txt": "1 Jump\n2 Walk Dog\n3 Run\n",
            "ucfTrainTestlist/trainlist01.txt": "Walk Dog/v_Walk_g01_c01.avi 2\nJump/v_Jump_g01_c01.avi 1\n",
            "ucfTrainTestlist/testlist01.txt": "Run/v_Run_g02_c01.avi\n",
            "videos/Walk Dog/v_Walk_g01_c01.mp4": "",
            "videos/v_Jump_g01_c01.avi": "",
            "videos/Run/v_Run_g02_c01.avi": "",
        },
    )


class TestUCF101:
    def dataset(self, root, subset="train", **changes):
        return UCF101Dataset("mine", root / "videos", root / "ucfTrainTestlist", subset, **changes)

    def test_classes_and_records(self, ucf):
        dataset = self.dataset(ucf)
        assert dataset.metadata.class_names == ("Jump", "Walk Dog", "Run")
        assert dataset.metadata.num_classes == 3
        walk, jump = dataset.records()
        assert (walk.number, walk.video_id, walk.labels) == (0, "v_Walk_g01_c01", (1,))
        assert walk.video == str(ucf / "videos/Walk Dog/v_Walk_g01_c01.mp4")  # listed as avi
        assert (jump.number, jump.labels, jump.video) == (1, (0,), str(ucf / "videos/v_Jump_g01_c01.avi"))
        assert [r.labels for r in self.dataset(ucf, "test").records()] == [(2,)]

    def test_by_name_and_by_description(self, ucf, tmp_path, monkeypatch):
        monkeypatch.setenv("MODIST_DATASETS", str(tmp_path))
        assert len(DatasetCatalog.get("ucf101_split1_train").records()) == 2
        text = "format: ucf101\nvideos: ucf101/videos\nannotations: ucf101/ucfTrainTestlist\nsubset: test\n"
        (tmp_path / "mine.yaml").write_text(text)
        dataset = DatasetCatalog.get(tmp_path / "mine.yaml")
        assert (dataset.metadata.name, len(dataset.video_records())) == ("mine", 1)
        with pytest.raises(UserError, match="kinetics400_val.* is not in .*missing annotations/val.csv"):
            DatasetCatalog.get("kinetics400_val")

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("trainlist01", "Jmp/v.avi 1\n", r"trainlist01.txt:1: unknown class 'Jmp'; did you mean 'Jump'"),
            ("trainlist01", "Jump/v.avi 3\n", r"trainlist01.txt:1: class Jump is number 1 .* but here 3"),
            ("trainlist01", "v.avi\n", r"trainlist01.txt:1: 'v.avi' is not 'ClassName/video.avi'"),
            ("trainlist01", "Run/a.avi 3\n\nRun/a.avi 3\n", r":3: video a is listed twice .*:1"),
            ("trainlist01", "\n", "trainlist01.txt is empty"),
            ("trainlist01", "Run/ 3\n", r"trainlist01.txt:1: 'Run/ 3' is not 'ClassName/video.avi'"),
            ("trainlist01", "Run/a.avi,3\n", r"for example Run/a.avi,3 \(.*trainlist01.txt:1\)"),
            ("trainlist01", "Run/a.avi \u00b2\n", "for example Run/a.avi \u00b2 "),
            ("classInd", "1 Jump\n3 Run\n", r"classInd.txt:2: '3 Run' is not '2 ClassName'"),
            ("classInd", "1 Jump\n2 Jump\n", "two classes have one name"),
        ],
    )
    def test_rows_that_are_wrong(self, ucf, name, text, message):
        (ucf / f"ucfTrainTestlist/{name}.txt").write_text(text)
        with pytest.raises(UserError, match=message):
            self.dataset(ucf).records()

    def test_text_of_windows(self, ucf):
        for name in ("classInd", "trainlist01"):
            path = ucf / f"ucfTrainTestlist/{name}.txt"
            path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
        assert [r.labels for r in self.dataset(ucf).records()] == [(1,), (0,)]
        path.write_bytes("J\u00fcmp/a.avi 1\n".encode("latin1"))
        with pytest.raises(UserError, match=r"trainlist01.txt is not UTF-8 text .*; save it as UTF-8"):
            self.dataset(ucf).records()

    def test_missing_videos_up_to_a_share(self, ucf, caplog):
        (ucf / "videos/v_Jump_g01_c01.avi").unlink()
        with pytest.raises(
            UserError, match="1 of 2 videos are missing .*Jump/v_Jump_g01_c01.avi .*list01.txt:2"
        ):
            self.dataset(ucf).records()
        with caplog.at_level(logging.WARNING):
            assert [r.video_id for r in self.dataset(ucf, max_missing=0.5).records()] == ["v_Walk_g01_c01"]
        assert "they are left out: v_Jump_g01_c01" in caplog.text

    def test_missing_list(self, ucf):
        with pytest.raises(UserError, match="trainlist02.txt does not exist"):
            self.dataset(ucf, split=2).records()
        with pytest.raises(UserError, match="subset is 'val'"):
            self.dataset(ucf, "val")

    def test_official_lists(self, real_data):
        folder = real_data / "ucf101"
        dataset = UCF101Dataset("ucf", folder, folder / "splits", "test", max_missing=1.0)
        assert dataset.metadata.num_classes == 101
        entries = dataset.read_entries()
        assert len(entries) == 3783  # split 1 as published: 9,537 and 3,783
        train = UCF101Dataset("ucf", folder, folder / "splits", "train", max_missing=1.0)
        assert len(train.read_entries()) == 9537
        juggling = dataset.metadata.class_names.index("SoccerJuggling")
        records = train.records()
        assert {r.video_id for r in records} == {"v_SoccerJuggling_g23_c01", "v_SoccerJuggling_g24_c01"}
        assert {r.labels for r in records} == {(juggling,)}


HEADER = "label,youtube_id,time_start,time_end,split\n"


class TestKinetics:
    @pytest.fixture
    def tree(self, tmp_path):
        return write(
            tmp_path,
            {
                "train.csv": HEADER + "using segway,a,12,22,train\nair drumming,-b,0,10,train\n"
                '"whip, crack",c,3,13,train\nusing segway,a,50,60,train\n',
                "val.csv": HEADER + "using segway,d,1,11,val\n",
                "videos/using segway/a_000012_000022.mp4": "",
                "videos/using_segway/a_000050_000060.mkv": "",
                "videos/air drumming/-b.mp4": "",
                "videos/c_000003_000013.mp4": "",
                "videos/d.mp4": "",
            },
        )

    def dataset(self, tree, split="train", **changes):
        return KineticsDataset("k", tree / "videos", tree / f"{split}.csv", **changes)

    def test_file_names_and_classes(self, tree):
        dataset = self.dataset(tree)
        assert dataset.metadata.class_names == ("air drumming", "using segway", "whip, crack")
        records = dataset.records()
        assert [r.video.removeprefix(f"{tree}/videos/") for r in records] == [
            "using segway/a_000012_000022.mp4",
            "air drumming/-b.mp4",
            "c_000003_000013.mp4",
            "using_segway/a_000050_000060.mkv",
        ]
        assert [r.labels for r in records] == [(1,), (0,), (2,), (1,)]
        assert records[0].video_id == "a_000012_000022" and records[0].start is None

    def test_classes_of_another_file(self, tree):
        assert self.dataset(tree, "val").records()[0].labels == (0,)
        assert self.dataset(tree, "val", classes=tree / "train.csv").records()[0].labels == (1,)
        (tree / "names.txt").write_text('"using segway"\nair drumming\nzumba\n')
        dataset = self.dataset(tree, "val", classes=tree / "names.txt")
        assert dataset.metadata.class_names == ("using segway", "air drumming", "zumba")
        assert dataset.records()[0].labels == (0,)

    def test_whole_videos_have_the_part_that_counts(self, tree):
        (record,) = self.dataset(tree, "val", trimmed=False).records()
        assert (record.start, record.end) == (1.0, 11.0)

    def test_rows_of_one_split(self, tree):
        (tree / "train.csv").write_text(HEADER + "a,c,3,13,train\nb,d,1,11,validate\n")
        assert [r.labels for r in self.dataset(tree).records()] == [(0,), (1,)]
        dataset = KineticsDataset("k", tree / "videos", tree / "train.csv", split="validate")
        assert [r.labels for r in dataset.records()] == [(1,)]
        with pytest.raises(
            UserError, match="no row has 'val' in its column split; there is '', 'train', 'val"
        ):
            (tree / "train.csv").write_text(HEADER + "a,c,3,13,train\nb,d,1,11,validate\nb,e,1,11,\n")
            KineticsDataset("k", tree / "videos", tree / "train.csv", split="val").records()

    @pytest.mark.parametrize("changes", [{}, {"trimmed": False}, {"split": "train"}, {"split": "val"}])
    def test_whole_columns_and_single_rows_are_read_alike(self, tmp_path, monkeypatch, changes):
        rows = "".join(
            f" c{i % 7} ,id-{i} , {i}{'.75' * (i % 2)},{i * i + 1e2:g},{'val' if i % 4 else 'train'}\n"
            for i in range(40)
        )
        (tmp_path / "k.csv").write_text(f"\ufeff{HEADER}{rows}c1,é 1,007,1234567.5,train")

        def read():
            dataset = KineticsDataset("k", tmp_path, tmp_path / "k.csv", **changes)
            return dataset.metadata.class_names, list(dataset.entries())

        whole = read()
        monkeypatch.setattr("modist_det.data.datasets.kinetics.EntryBuilder", None)
        assert read() == whole  # no row by itself
        monkeypatch.undo()
        monkeypatch.setattr("modist_det.data.datasets.kinetics._read_plain", lambda *_: None)
        assert read() == whole
        assert whole[0] == tuple(f"c{i}" for i in range(7))
        assert len(whole[1]) == {"train": 11, "val": 30}.get(changes.get("split"), 41)

    def test_of_two_columns_of_one_name_the_last_counts(self, tmp_path):
        (tmp_path / "k.csv").write_text(
            "label,youtube_id,time_start,time_end,label\nx,a,0,9,c1\nx,b,0,9,c2\n"
        )
        assert KineticsDataset("k", tmp_path, tmp_path / "k.csv").metadata.class_names == ("c1", "c2")

    @pytest.mark.parametrize("end", ["\n\n", "\x0c\n", ' "quoted"\n'])
    def test_odd_rows_are_read_one_by_one(self, tmp_path, monkeypatch, end):
        (tmp_path / "k.csv").write_text(f'{HEADER}c1,a,0,9,train{end}"c2",b,1,5,train\nc1,"c",1,5,train\n')
        (tmp_path / "blank.csv").write_text(f"{HEADER}c1,a,0,9,train{end}c2,b,1,5,train\nc1,c,1,5,train\n")

        def read():
            datasets = [KineticsDataset("k", tmp_path, tmp_path / f"{name}.csv") for name in ("k", "blank")]
            return [(dataset.metadata.class_names, list(dataset.entries())) for dataset in datasets]

        found = read()
        monkeypatch.setattr("modist_det.data.datasets.kinetics._read_plain", lambda *_: None)
        assert found == read()
        rows = [2, 4, 5] if "quoted" not in end else [2, 3, 4]
        for name, (classes, entries) in zip(("k", "blank"), found, strict=True):
            assert classes == ("c1", "c2")
            assert [entry.where for entry in entries] == [f"{tmp_path}/{name}.csv:{row}" for row in rows]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("label;youtube_id;time_start;time_end\n", "train.csv:1: no column label;"),
            (HEADER + "a,b,0\n", "train.csv:2: 3 values for the 5 columns"),
            (HEADER + "a,b,zero,9,train\n", "train.csv:2: time_start is 'zero'"),
            (HEADER + "a,b,9,3,train\n", "train.csv:2: the clip goes from 9 to 3 seconds"),
            (HEADER + "a,b,-3,9,train\n", "train.csv:2: the clip goes from -3 to 9 seconds"),
            (HEADER + "a,b,9,inf,train\n", "train.csv:2: the clip goes from 9 to inf seconds"),
            (HEADER + ",b,0,9,train\n", "train.csv:2: label is empty"),
            (HEADER + "a,,0,9,train\n", "train.csv:2: youtube_id is empty"),
            (
                HEADER + "a,d,0,9,t\na,d,20,29,t\n",
                "train.csv:3: d_000020_000029 and d_000000_000009 .*:2.* are both .*/videos/d.mp4",
            ),
            (HEADER + "a,b,0,9,t\na,b,0,9,t\n", "train.csv:3: video b_000000_000009 is listed twice"),
            ("", "train.csv is empty"),
        ],
    )
    def test_rows_that_are_wrong(self, tree, text, message):
        (tree / "train.csv").write_text(text)
        with pytest.raises(UserError, match=message):
            self.dataset(tree).records()

    def test_class_that_the_class_file_lacks(self, tree):
        (tree / "names.txt").write_text("using segways\n")
        with pytest.raises(UserError, match="val.csv:2: unknown class 'using segway'; did you mean"):
            self.dataset(tree, "val", classes=tree / "names.txt").records()

    def test_real_clips_and_class_names(self, real_data, tmp_path):
        ids = [path.stem for path in sorted((real_data / "kinetics").glob("*.mp4"))]
        (tmp_path / "val.csv").write_text(HEADER + "".join(f"using segway,{i},5,15,val\n" for i in ids))
        dataset = KineticsDataset(
            "k",
            real_data / "kinetics",
            tmp_path / "val.csv",
            classes=real_data / "kinetics/label_map_k400.txt",
        )
        assert dataset.metadata.num_classes == 400
        names = (real_data / "kinetics/label_map_k400.txt").read_text().splitlines()
        assert list(dataset.metadata.class_names) == [name.strip('"') for name in names]
        assert {r.labels for r in dataset.records()} == {(names.index("using segway"),)}


def test_values_of_another_type(ucf):
    settings = ("mine", ucf / "videos", ucf / "ucfTrainTestlist", "train")
    with pytest.raises(UserError, match="split is 'one', but must be a whole number from 1"):
        UCF101Dataset(*settings, split="one")
    with pytest.raises(UserError, match="max_missing is 10, but must be a fraction from 0 to 1"):
        UCF101Dataset(*settings, max_missing=10)
    with pytest.raises(UserError, match=r"subset is \['train'\], but is one of train, test"):
        HMDB51Dataset(*settings[:3], subset=["train"])
    with pytest.raises(UserError, match="trimmed is 'no', but must be true or false"):
        KineticsDataset("k", ucf, ucf / "train.csv", trimmed="no")
    with pytest.raises(UserError, match="max_missing is '10%', but must be a number"):
        UCF101Dataset(*settings, max_missing="10%")
    with pytest.raises(UserError, match="fps is 0, but must be a number above 0"):
        UCF101Dataset(*settings, fps=0)


def test_puppets_in_both_formats(tiny_actions, monkeypatch):
    monkeypatch.setenv("MODIST_DATASETS", str(tiny_actions))
    root = tiny_actions / "puppets_actions"
    for split, subset, count in (("train", "train", 24), ("val", "test", 12)):
        first = DatasetCatalog.get(f"puppets_actions_{subset}").records()
        second = VideoListDataset("k", root, root / f"kinetics_{split}.csv").records()
        assert len(first) == count
        assert [(r.video, r.labels) for r in first] == [(r.video, r.labels) for r in second]
        names = DatasetCatalog.get(f"puppets_actions_{subset}").metadata.class_names
        assert all(f"/{names[r.labels[0]]}/" in r.video for r in first)


class TestHMDB51:
    @pytest.fixture
    def tree(self, tmp_path):
        return write(
            tmp_path,
            {
                "splits/wave_test_split1.txt": "a_wave.avi 1 \n#2_wave.avi 2 \nc_wave.avi 0 \n",
                "splits/cartwheel_test_split1.txt": "d_cartwheel.avi 1 \n",
                "splits/cartwheel_test_split2.txt": "d_cartwheel.avi 2 \n",
                "splits/wave_test_split2.txt": "a_wave.avi 0 \n",
                "splits/._wave_test_split2.txt": "\0",
                "videos/wave/a_wave.avi": "",
                "videos/wave/#2_wave.mp4": "",
                "videos/d_cartwheel.avi": "",
            },
        )

    def dataset(self, tree, subset="train", **changes):
        return HMDB51Dataset("h", tree / "videos", tree / "splits", subset, **changes)

    def test_codes_are_subsets(self, tree):
        dataset = self.dataset(tree)
        assert dataset.metadata.class_names == ("cartwheel", "wave")
        assert [(r.video_id, r.labels) for r in dataset.records()] == [
            ("cartwheel/d_cartwheel", (0,)),
            ("wave/a_wave", (1,)),
        ]
        (test,) = self.dataset(tree, "test").records()
        assert test.video == str(tree / "videos/wave/#2_wave.mp4")
        assert [r.video_id for r in self.dataset(tree, "test", split=2).records()] == [
            "cartwheel/d_cartwheel"
        ]

    def test_rows_that_are_wrong(self, tree):
        with pytest.raises(UserError, match="splits: there is no file <class>_test_split3.txt"):
            self.dataset(tree, split=3).records()
        (tree / "splits/wave_test_split2.txt").unlink()
        with pytest.raises(UserError, match="wave_test_split2.txt does not exist"):
            self.dataset(tree, split=2).records()
        (tree / "splits/wave_test_split1.txt").write_text("a_wave.avi 1\na_wave.avi 2\n")
        with pytest.raises(UserError, match="wave_test_split1.txt:2: video wave/a_wave is listed twice"):
            self.dataset(tree).records()
        (tree / "splits/wave_test_split1.txt").write_text("a_wave.avi 1\nb_wave.avi 3\n")
        with pytest.raises(UserError, match="wave_test_split1.txt:2: 'b_wave.avi 3' is not"):
            self.dataset(tree).records()

    def test_official_lists(self, real_data):
        folder = real_data / "hmdb51"
        counts = {}
        for split in (1, 2, 3):
            for subset in ("train", "test"):
                dataset = HMDB51Dataset("h", folder, folder / "splits", subset, split, max_missing=1.0)
                entries = dataset.read_entries()
                counts[subset] = [sum(e.labels == (label,) for e in entries) for label in (0, 1)]
            # 70 and 30 of each class, in every split
            assert counts == {"train": [70, 70], "test": [30, 30]}
        found = {
            record.video_id
            for subset in ("train", "test")
            for record in HMDB51Dataset("h", folder, folder / "splits", subset, max_missing=1.0).records()
        }
        # Of the four clips there one is of neither subset in split 1 (code 0), and one has another name.
        assert found == {
            "wave/RATRACE_wave_f_nm_np1_fr_goo_37",
            "wave/TrumanShow_wave_f_nm_np1_fr_med_26",
        }


class TestSSv2:
    @pytest.fixture
    def tree(self, tmp_path):
        rows = '[{"id": "7", "template": "Pulling [something] from left to right", "label": "pulling a cup"},'
        rows += '{"id": 12, "template": "Holding [something]"}]'
        return write(
            tmp_path,
            {
                "labels.json": '{"Holding something": "1", "Pulling something from left to right": "0"}',
                "train.json": rows,
                "videos/7.webm": "",
                "videos/12/000001.jpg": "",
            },
        )

    def dataset(self, tree):
        return SSv2Dataset("s", tree / "videos", tree / "train.json", tree / "labels.json")

    def test_templates_are_classes(self, tree):
        dataset = self.dataset(tree)
        assert dataset.metadata.class_names == ("Pulling something from left to right", "Holding something")
        assert dataset.metadata.directional
        video, folder = dataset.records()
        assert (video.video, video.labels) == (str(tree / "videos/7.webm"), (0,))
        assert (folder.video, folder.labels, folder.fps) == (str(tree / "videos/12"), (1,), 12.0)

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            (
                "train",
                '[{"id": "7", "template": "Hold [something]"}]',
                "entry 1: unknown class 'Hold something'; did",
            ),
            ("train", '[{"id": "7"}]', "entry 1 has no 'id' and 'template'"),
            ("train", "{}", "train.json is not a list"),
            ("train", "[" * 100_000, "train.json is nested too deeply"),
            ("labels", "{}", "labels.json names no class"),
            ("labels", '{"Holding something": 0.5}', "labels.json is neither a list of names nor"),
            ("train", "[", "train.json is not JSON"),
            (
                "labels",
                '{"Holding something": "1"}',
                "labels.json: class indices do not count up from 0 to 0",
            ),
        ],
    )
    def test_files_that_are_wrong(self, tree, name, text, message):
        (tree / f"{name}.json").write_text(text)
        with pytest.raises(UserError, match=message):
            self.dataset(tree).records()

    def test_official_files(self, real_data, tmp_path):
        folder = real_data / "ssv2"
        dataset = SSv2Dataset(
            "s",
            tmp_path,
            folder / "something-something-v2-validation-first500.json",
            folder / "something-something-v2-labels.json",
        )
        assert dataset.metadata.num_classes == 174
        assert dataset.metadata.class_names[5] == "Closing something"
        entries = dataset.read_entries()
        assert len(entries) == 500
        spinning = dataset.metadata.class_names.index("Spinning something that quickly stops spinning")
        assert (entries[0].video_id, entries[0].labels) == ("74225", (spinning,))
