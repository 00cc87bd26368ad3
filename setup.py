"""Package metadata lives here; tool settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "([^"]+)"', (ROOT / "modist_det/__init__.py").read_text()).group(1)

CORE = [
    "torch>=2.4",
    "torchvision>=0.19",
    "fvcore>=0.1.5.post20221221",
    "iopath>=0.1.9",
    "av>=15,<20",
    "pycocotools>=2.0.7",
    "simplejson>=3.17",
    "scipy>=1.10",
    "numpy>=1.24",
    "pyarrow>=16.1",
    "opencv-python-headless>=4.8",
    "tabulate>=0.9",
    "tqdm>=4.60",
    "tensorboard>=2.12",
    "matplotlib>=3.7",
]
EXPORT = ["onnx>=1.16", "onnxscript>=0.2", "onnxruntime>=1.18"]
EXTRAS = {
    "dev": [
        "pytest>=8",
        "hypothesis>=6",
        "pytest-timeout>=2.2",
        "ruff>=0.6",
        "mypy>=1.11",
        "safetensors>=0.4",
        "selenium>=4",
        "types-PyYAML",
        "types-tabulate",
        *EXPORT,
    ],
    # It has to be built as INSTALL.md says; the extra is there to say where it comes from.
    "detectron2": ["detectron2 @ git+https://github.com/facebookresearch/detectron2.git"],
    "export": EXPORT,
}

setup(
    name="modist_det",
    version=VERSION,
    description="Spatio-temporal action detection, motion-distilled pretraining and video classification in PyTorch",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["modist_det", "modist_det.*"]),
    # modist_det/configs is a link to configs.
    package_data={
        "modist_det": ["configs/**/*.yaml"],
        "modist_det.analysis.report": ["*.html", "*.css", "*.js"],
    },
    install_requires=CORE,
    extras_require=EXTRAS,
)
