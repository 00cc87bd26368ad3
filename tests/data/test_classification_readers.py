"""Readers of labelled videos, on trees written here and on the official files."""

from __future__ import annotations

import logging

import pytest

from modist_det.data.catalog import DatasetCatalog
from modist_det.data.datasets import KineticsDataset, UCF101Dataset
from modist_det.utils.errors import UserError


def write(folder, files: dict[str, str]):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


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
            ("trainlist01", "Run/a.avi 3\n\nRun/a.avi 3\n", r":3: video a is there a second time .*:1"),
            ("trainlist01", "", "its annotations list no video"),
            ("classInd", "1 Jump\n3 Run\n", r"classInd.txt:2: '3 Run' is not '2 ClassName'"),
            ("classInd", "1 Jump\n2 Jump\n", "two classes have one name"),
        ],
    )
    def test_rows_that_are_wrong(self, ucf, name, text, message):
        (ucf / f"ucfTrainTestlist/{name}.txt").write_text(text)
        with pytest.raises(UserError, match=message):
            self.dataset(ucf).records()

    def test_missing_videos_up_to_a_share(self, ucf, caplog):
        (ucf / "videos/v_Jump_g01_c01.avi").unlink()
        with pytest.raises(UserError, match="1 of 2 videos are missing .*Jump/v_Jump_g01_c01 .*list01.txt:2"):
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
        assert dataset.metadata.class_names == ("air drumming", "using segway", "zumba")
        assert dataset.records()[0].labels == (1,)

    def test_whole_videos_have_the_part_that_counts(self, tree):
        (record,) = self.dataset(tree, "val", trimmed=False).records()
        assert (record.start, record.end) == (1.0, 11.0)

    def test_rows_of_one_split(self, tree):
        (tree / "train.csv").write_text(HEADER + "a,c,3,13,train\nb,d,1,11,validate\n")
        assert [r.labels for r in self.dataset(tree).records()] == [(0,), (1,)]
        dataset = KineticsDataset("k", tree / "videos", tree / "train.csv", split="validate")
        assert [r.labels for r in dataset.records()] == [(1,)]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("label;youtube_id;time_start;time_end\n", "train.csv:1: no column label;"),
            (HEADER + "a,b,0\n", "train.csv:2: 3 values for the 5 columns"),
            (HEADER + "a,b,zero,9,train\n", "train.csv:2: time_start is 'zero'"),
            (HEADER + "a,b,9,3,train\n", "train.csv:2: the clip goes from 9 to 3 seconds"),
            (HEADER + "a,b,0,9,t\na,b,0,9,t\n", "train.csv:3: video b_000000_000009 is there a second time"),
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
