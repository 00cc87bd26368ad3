"""Lists of videos, folders of classes and class files."""

from __future__ import annotations

from pathlib import Path

import pytest

from modist_det.data.datasets import ClassFolders, VideoListDataset
from modist_det.data.datasets.classification import read_class_file
from modist_det.utils.errors import UserError
from tests.files import write


class TestVideoList:
    def dataset(self, folder, text, files=(), **changes):
        write(folder, {"list.txt": text, **{f"videos/{file}": "" for file in files}})
        return VideoListDataset("l", folder / "videos", folder / "list.txt", **changes)

    @pytest.mark.parametrize("separator", [" ", ",", "\t", ";", ", ", "  "])
    def test_any_separator_and_spaces_in_paths(self, tmp_path, separator):
        files = ["my walk 3.mp4", "a,b/c 7.avi"]
        text = "".join(f"{file}{separator}{label}\n" for label, file in enumerate(files))
        records = self.dataset(tmp_path, text, files).records()
        assert [r.video for r in records] == [str(tmp_path / "videos" / file) for file in files]
        assert [r.labels for r in records] == [(0,), (1,)]

    def test_quotes_absolute_paths_and_other_extensions(self, tmp_path):
        outside = write(tmp_path / "else where", {"v.mp4": "", "w.mp4": "", "w.avi": ""})
        text = f'"{outside}/v.avi",4\n{outside}/w.avi,2\n'
        (tmp_path / "videos").mkdir()
        dataset = self.dataset(tmp_path, text)
        assert [(r.video, r.labels) for r in dataset.records()] == [
            (f"{outside}/v.mp4", (4,)),
            (f"{outside}/w.avi", (2,)),  # the file as listed comes first
        ]
        assert dataset.metadata.class_names == ("0", "1", "2", "3", "4")

    def test_several_labels_and_frame_counts(self, tmp_path):
        many = self.dataset(tmp_path, "a.mp4 3 1\nb.mp4 0\n", ["a.mp4", "b.mp4"], columns="path labels")
        assert [r.labels for r in many.records()] == [(1, 3), (0,)]
        frames = self.dataset(
            tmp_path, "clip 1 120 3\n", ["clip 1/a.jpg"], columns="path frames label", fps=25
        )
        (record,) = frames.records()
        assert (record.video, record.labels, record.fps) == (str(tmp_path / "videos/clip 1"), (3,), 25)
        with pytest.raises(UserError, match=r"say how many there are a second \(fps\)"):
            self.dataset(tmp_path, "", columns="path frames label")

    def test_class_names(self, tmp_path):
        (tmp_path / "names.txt").write_text("run\nwalk\n")
        dataset = self.dataset(tmp_path, "a.mp4 1\n", ["a.mp4"], classes=tmp_path / "names.txt")
        assert dataset.metadata.class_names == ("run", "walk")
        with pytest.raises(UserError, match="list.txt:1: class index 2 is above 1, the last of .*names.txt"):
            self.dataset(tmp_path, "a.mp4 2\n", classes=tmp_path / "names.txt").records()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "a.mp4 1\nb.mp4,0\n",
                "list.txt:2: path and label are separated by a comma, but by a space in .*:1",
            ),
            ("a.mp4,\t1\n", "list.txt:1: .* more than one kind of separator"),
            ("a.mp4 1\nb.mp4\n", "list.txt:2: 'b.mp4' is not 'path label'"),
            ("a.mp4 -1\n", "list.txt:1: 'a.mp4 -1' is not 'path label'"),
            ("a.mp4 1\n./a.mp4 0\n", "list.txt:2: video a.mp4 is listed twice"),
            ("a.mp4 1\na.avi 0\n", "list.txt:2: a.avi and a.mp4 .*list.txt:1.* are both .*/videos/a.mp4"),
            ("a.mp4 1\nb.mp4 20240101\n", "list.txt:2: 20240101 is no class index; .*'columns' says"),
            ("a.mp4 " + "9" * 5000, "list.txt:1: 99999999999999999999 is no class index"),
            ("a.mp4 \u0663\n", "list.txt:1: 'a.mp4 \u0663' is not 'path label'"),
            ("", "list.txt is empty"),
        ],
    )
    def test_rows_that_are_wrong(self, tmp_path, text, message):
        with pytest.raises(UserError, match=message):
            self.dataset(tmp_path, text, ["a.mp4", "b.mp4"]).records()
        with pytest.raises(UserError, match="columns is 'path'"):
            self.dataset(tmp_path, text, columns="path")


class TestClassFolders:
    def test_folders_are_classes(self, tmp_path):
        write(
            tmp_path,
            {
                "run/a.mp4": "",
                "run/part 2/b.avi": "",
                "a walk/a.mp4": "",
                "run/notes.txt": "",
                "run/._a.mp4": "",
            },
        )
        dataset = ClassFolders("f", tmp_path)
        assert dataset.metadata.class_names == ("a walk", "run")
        assert [(r.video_id, r.labels) for r in dataset.records()] == [
            ("a walk/a.mp4", (0,)),
            ("run/a.mp4", (1,)),
            ("run/part 2/b.avi", (1,)),
        ]

    def test_the_current_folder(self, tmp_path, monkeypatch):
        write(tmp_path, {"run/a.mp4": "", "walk/part 2/b.mp4": ""})
        monkeypatch.chdir(tmp_path)
        records = ClassFolders("f", ".").records()
        assert [r.video_id for r in records] == ["run/a.mp4", "walk/part 2/b.mp4"]
        assert all(Path(r.video).is_file() for r in records)

    def test_videos_beside_the_folders_are_named(self, tmp_path, caplog):
        write(
            tmp_path, {"run/a.mp4": "", "walk/b.mp4": "", "lost.mp4": "", "._lost.mp4": "", "notes.txt": ""}
        )
        assert len(ClassFolders("f", tmp_path).records()) == 2
        assert (
            f"1 video lies in no class folder and is left out, for example {tmp_path / 'lost.mp4'}"
            in caplog.text
        )

    def test_classes_from_a_file(self, tmp_path):
        write(tmp_path, {"v/run/a.mp4": "", "names.txt": "walk\nrun\n"})
        assert ClassFolders("f", tmp_path / "v", tmp_path / "names.txt").records()[0].labels == (1,)
        (tmp_path / "names.txt").write_text("walk\nruns\n")
        with pytest.raises(UserError, match="v/run: unknown class 'run'; did you mean 'runs'"):
            ClassFolders("f", tmp_path / "v", tmp_path / "names.txt").records()

    def test_no_folders(self, tmp_path):
        with pytest.raises(UserError, match="there is no folder of a class"):
            ClassFolders("f", tmp_path).records()
        with pytest.raises(UserError, match="nowhere does not exist"):
            ClassFolders("f", tmp_path / "nowhere").records()
        (tmp_path / "v/run").mkdir(parents=True)
        with pytest.raises(UserError, match="dataset f: its annotations list no video"):
            ClassFolders("f", tmp_path / "v").records()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.txt", "run\nwalk\nrun\n", "the class 'run' is there twice"),
        ("c.json", '{"run": 0, "walk": 2}', "class indices do not count up from 0 to 1"),
        ("c.json", '{"run": "first"}', "is neither a list of names nor"),
        ("c.json", '"run"', "is neither a list of names nor"),
    ],
)
def test_class_files_that_are_wrong(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read_class_file(tmp_path / name)


def test_class_files(tmp_path):
    for name, text in (
        ("c.txt", '"run"\nwalk\n'),
        ("c.json", '["run", "walk"]'),
        ("d.json", '{"walk": 1, "\\"run\\"": 0}'),
    ):
        (tmp_path / name).write_text(text)
        assert read_class_file(tmp_path / name) == ["run", "walk"]
