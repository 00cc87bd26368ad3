"""CVAT for video 1.1: XML with a ``track`` per object and a ``box`` per frame or keyframe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from ...structures.tubes import VideoSize
from ...utils.errors import UserError
from ...utils.files import atomic_path
from ...utils.text_files import read_file
from .images import texts_at
from .tracks import AnnotatedTrack, Shape, TrackAnnotations, interpolate_shapes, runs_of

__all__ = [
    "add_element",
    "attribute_text",
    "box_shape",
    "corners_of",
    "parse_xml",
    "read_cvat",
    "video_sizes",
    "whole_number",
    "write_cvat",
    "write_xml",
]

_CORNERS = ("xtl", "ytl", "xbr", "ybr")


class _Builder(ElementTree.TreeBuilder):
    """Refuses document types: only these can define entities, which may expand to gigabytes or name other files."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise UserError("it has a DOCTYPE, which annotation files do not need; delete that declaration")


def parse_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file.

    Raises:
        UserError: it is missing, is not XML, or has a document type.
    """
    parser = ElementTree.XMLParser(target=_Builder())
    try:
        parser.feed(read_file(path))
        root: ElementTree.Element = parser.close()
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # the last two: unknown encodings
        raise UserError(f"{path} is not XML, or is cut off ({error}); export it again") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return root


def read_cvat(path: Path) -> TrackAnnotations:
    """Read "CVAT for video 1.1" of a task, a job or a project. Boxes between keyframes are interpolated.

    Videos are called as the task's source file without extension. The format has no frame rate.

    Raises:
        UserError: the file is of another kind or malformed; the message has track and frame.
    """
    root = parse_xml(path)
    if root.tag != "annotations":
        raise UserError(
            f"{path}: the root is <{root.tag}>, but <annotations> in CVAT's files; export CVAT for video 1.1"
        )
    if root.find("image") is not None:
        raise UserError(
            f"{path} is CVAT for images; export the task as CVAT for video 1.1, or read it as cvat-images"
        )
    names, videos = {}, {}
    for name, (task_id, size) in video_sizes(root, path).items():
        names[task_id], videos[name] = name, size
    if not videos:
        raise UserError(f"{path}: <meta> has no task with an <original_size>; export it again from CVAT")
    tracks = []
    for position, element in enumerate(root.iter("track")):
        where = f"{path}, track {element.get('id', f'number {position + 1}')}"
        if len(videos) == 1:
            name = next(iter(videos))
        elif (task_id := element.get("task_id", "")) in names:
            name = names[task_id]
        else:
            raise UserError(f"{where}: task_id is {task_id!r}, but <meta> has tasks {', '.join(names)}")
        if len(element) and not element.findall("box"):
            raise UserError(f"{where} is a <{element[0].tag}>; only boxes are read, so convert or delete it")
        track = interpolate_shapes(
            name,
            whole_number(element, "id", where),
            attribute_text(element, "label", where),
            [box_shape(box, whole_number(box, "frame", where), where) for box in element.iter("box")],
            where,
            videos[name].num_frames,
        )
        if len(track.frames):
            tracks.append(track)
    return TrackAnnotations(videos, tracks)


def video_sizes(root: ElementTree.Element, path: Path) -> dict[str, tuple[str, VideoSize]]:
    """The videos of all tasks that state a size: id of the task, and size.

    Raises:
        UserError: two tasks are of one video, or a size is no number.
    """
    videos = {}
    for task in root.iterfind("meta//*"):
        if task.find("original_size") is not None:
            source = task.findtext("source") or task.findtext("name") or path.stem
            name = PurePosixPath(source.replace("\\", "/")).stem
            if name in videos:
                raise UserError(f"{path}: two tasks are of a video {name}; export one of them at a time")
            videos[name] = task.findtext("id", ""), _size(task, path)
    return videos


def _size(task: ElementTree.Element, path: Path) -> VideoSize:
    texts = {
        key: task.findtext(key)
        for key in ("original_size/width", "original_size/height", "size", "stop_frame")
    }
    numbers = {}
    for key, text in texts.items():
        try:
            numbers[key] = int(text or 0)
        except ValueError:
            raise UserError(f"{path}: <{key}> is {text!r}, but must be a whole number") from None
    # With a frame step, size counts the frames that were annotated; stop_frame is a number of the video.
    length = max(numbers["size"], numbers["stop_frame"] + 1 if texts["stop_frame"] else 0)
    return VideoSize(numbers["original_size/width"], numbers["original_size/height"], length)


def attribute_text(element: ElementTree.Element, key: str, where: str) -> str:
    """An attribute of an element, which has to be there."""
    text = element.get(key)
    if text is None:
        raise UserError(f"{where}: <{element.tag}> lacks {key}=...; export it again from CVAT")
    return text


def _number(element: ElementTree.Element, key: str, where: str) -> float:
    text = attribute_text(element, key, where)
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{where}: {key} of <{element.tag}> is {text!r}, but must be a number") from None


def whole_number(element: ElementTree.Element, key: str, where: str) -> int:
    """An attribute of an element that has to be a whole number."""
    number = _number(element, key, where)
    if not number.is_integer():
        raise UserError(f"{where}: {key} of <{element.tag}> is {number:g}, but must be a whole number")
    return int(number)


def box_shape(box: ElementTree.Element, frame: int, where: str) -> Shape:
    """A ``<box>`` with its attributes.

    Raises:
        UserError: it is rotated, or a coordinate is missing or no number.
    """
    here = f"{where}, frame {frame}"
    if box.get("rotation") and _number(box, "rotation", here):
        raise UserError(f"{here}: the box is rotated; only upright boxes are read, so set its rotation to 0")
    return Shape(
        frame,
        [_number(box, key, here) for key in _CORNERS],
        {attribute_text(a, "name", here): (a.text or "").strip() for a in box.iter("attribute")},
        box.get("outside") == "1",
        box.get("keyframe", "1") == "1",
    )


def write_cvat(path: Path, annotations: TrackAnnotations) -> None:
    """Write "CVAT for video 1.1" of one video, for *Upload annotations* of a task whose labels have these attributes.

    Raises:
        UserError: there are several videos.
    """
    if len(annotations.videos) != 1:
        raise UserError(f"CVAT for video has one video a file, but there are {len(annotations.videos)}")
    ((name, size),) = annotations.videos.items()
    root = ElementTree.Element("annotations")
    add_element(root, "version", "1.1")
    task = add_element(add_element(root, "meta"), "task")
    add_element(task, "name", name)
    if size.num_frames:
        add_element(task, "size", str(size.num_frames))
        add_element(task, "start_frame", "0")
        add_element(task, "stop_frame", str(size.num_frames - 1))
    labels = add_element(task, "labels")
    for label, attributes in _labels(annotations).items():
        entry = add_element(labels, "label")
        add_element(entry, "name", label)
        several = add_element(entry, "attributes")
        for attribute, values in attributes.items():
            options = sorted(values)
            is_switch = values <= {"true", "false"}
            item = add_element(several, "attribute")
            add_element(item, "name", attribute)
            add_element(item, "mutable", "True")
            add_element(item, "input_type", "checkbox" if is_switch else "select")
            add_element(item, "default_value", "false" if is_switch else options[0])
            add_element(item, "values", "false" if is_switch else "\n".join(options))
    original = add_element(task, "original_size")
    add_element(original, "width", str(size.width))
    add_element(original, "height", str(size.height))
    # CVAT's files name the video with its extension, of which readers keep the stem.
    add_element(task, "source", f"{name}.mp4")
    for track in annotations.tracks:
        _add_track(root, track, size.num_frames)
    write_xml(path, root)


def write_xml(path: Path, root: ElementTree.Element) -> None:
    """Write an XML file, indented."""
    ElementTree.indent(root)
    with atomic_path(path) as temporary:
        ElementTree.ElementTree(root).write(temporary, encoding="utf-8", xml_declaration=True)


def add_element(parent: ElementTree.Element, tag: str, text: str | None = None) -> ElementTree.Element:
    """Append an element; returns it."""
    element = ElementTree.SubElement(parent, tag)
    element.text = text
    return element


def _labels(annotations: TrackAnnotations) -> Mapping[str, Mapping[str, set[str]]]:
    """Values by label and attribute."""
    found: dict[str, dict[str, set[str]]] = {}
    for track in annotations.tracks:
        attributes = found.setdefault(track.label, {})
        for name, values in track.attributes.items():
            attributes.setdefault(name, set()).update(values)
    return found


def _add_track(root: ElementTree.Element, track: AnnotatedTrack, num_frames: int) -> None:
    element = ElementTree.SubElement(root, "track", id=str(track.number), label=track.label, source="auto")
    rows = list(zip(*track.attributes.values(), strict=True)) or [()] * len(track.frames)
    for run in runs_of(track.frames):
        for row in range(run.start, run.stop):
            # Attributes change at keyframes only.
            is_key = track.drawn[row] or row == run.start or rows[row] != rows[row - 1]
            _add_box(element, track, row, int(track.frames[row]), outside=False, keyframe=bool(is_key))
        after = int(track.frames[run.stop - 1]) + 1
        if after < num_frames or not num_frames:
            _add_box(element, track, run.stop - 1, after, outside=True, keyframe=True)


def _add_box(
    parent: ElementTree.Element, track: AnnotatedTrack, row: int, frame: int, *, outside: bool, keyframe: bool
) -> None:
    flags = {
        "frame": str(frame),
        "keyframe": str(int(keyframe)),
        "outside": str(int(outside)),
        "occluded": "0",
    }
    box = ElementTree.SubElement(parent, "box", {**flags, **corners_of(track, row), "z_order": "0"})
    for name, value in texts_at(track, row).items():
        add_element(box, "attribute", value).set("name", name)


def corners_of(track: AnnotatedTrack, row: int) -> dict[str, str]:
    """The corners of a box as attributes of ``<box>``, exactly."""
    return {key: repr(float(v)) for key, v in zip(_CORNERS, track.boxes[row], strict=True)}
