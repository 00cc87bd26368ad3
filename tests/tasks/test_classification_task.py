"""The classification task's own part: the drawing that its evaluator adds."""

from __future__ import annotations

import cv2
import torch

from modist_det.config import get_cfg
from modist_det.tasks.classification import ClassificationTask


def test_the_confusion_matrix_is_drawn_beside_its_csv(tmp_path):
    for name in ("jump", "run"):
        (tmp_path / "videos" / name).mkdir(parents=True)
        (tmp_path / "videos" / name / f"{name}.mp4").touch()  # is listed, never opened
    data = tmp_path / "mine.yaml"
    data.write_text("format: class_folders\nname: my/set\nvideos: videos\n")
    evaluator = ClassificationTask([str(data)]).evaluator(get_cfg(), str(data), tmp_path / "out")
    labels = torch.eye(2)
    # "jump" is taken for "run", "run" is right.
    scores = [{"scores": torch.tensor([0.2, 0.8])}, {"scores": torch.tensor([0.3, 0.7])}]
    evaluator.process({"video_number": [0, 1], "id": ["a", "b"], "labels": list(labels)}, scores)
    assert evaluator.evaluate()["top1"] == 0.5
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"my_set_predictions.csv", "my_set_confusion.csv", "my_set_confusion.png"}
    image = cv2.imread(str(tmp_path / "out" / "my_set_confusion.png"))
    assert min(image.shape[:2]) > 200
    # Dark cells are those with counts, both in the column of "run": the right half of the matrix is darker.
    shade = 255.0 - image.mean(axis=2)
    height, width = shade.shape
    middle = shade[height // 3 : 2 * height // 3]
    assert middle[:, width // 2 : 2 * width // 3].mean() > 2 * middle[:, width // 4 : 2 * width // 5].mean()
