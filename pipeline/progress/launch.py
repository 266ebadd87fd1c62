"""Start Snakemake with our plugin: `python -P launch.py ARGUMENTS OF SNAKEMAKE`.

This is run as a file: the folder where a user works may hold a `pipeline` of its own.
"""

import sys
from pathlib import Path

NAME = "foldline"
FLAGS = ("--logger", NAME, "--logger-foldline-descriptor")

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

    from snakemake.cli import main
    from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

    from pipeline.progress import plugin

    LoggerPluginRegistry().register_plugin(f"snakemake_logger_plugin_{NAME}", plugin)
    main(sys.argv[1:])
