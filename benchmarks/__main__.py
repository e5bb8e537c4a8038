"""Regenerates every figure of docs/benchmarks.md: runs its commands one after another.

    python -m benchmarks                    # all, hours on two cores; goes on where it was stopped
    python -m benchmarks --list             # the commands
    python -m benchmarks rd labels bounds   # some

Each command's output is shown and kept in `--out`, one file a name; what is there is not run again
unless ``--again``. A command that fails (an extra that is not installed, data that are absent) is
reported at the end, and the others go on. Data are found through DSC_TEST_DATA.
"""

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

DATA = os.environ.get("DSC_TEST_DATA", "../shared/data")
SETS = "nyuv2,7scenes,taskonomy,views"
CODECS = "av1,normal-palette,independent,jpeg,webp,avif-s4,jxl"
PARTS = "codecs,compress,stream,max-error,target,auto,workers"
GEOMETRY = "depth_zbuffer,normal,segment_semantic"
SHARED = "depth_zbuffer=surfaces,normal=surfaces"
# by name, in the order of the page; {out} is the folder of results, {data} that of the data sets
COMMANDS = {
    "picture": "python -m benchmarks.readme_picture",
    "bounds": "python -m benchmarks.bounds --frames 6",
    "masks": "python -m benchmarks.masks",
    "surfaces": "python -m benchmarks.surfaces --sets rooms clevr",
    "surfaces-512": "python -m benchmarks.surfaces --sets rooms clevr --quality 60 --size 512 "
    "--views 12",
    "surfaces-real": "python -m benchmarks.surfaces --sets nyuv2 nyuv2+normals taskonomy+normals "
    "7scenes+normals --quality 60 --views 4",
    "rd": f"dsc bench rd --sets {SETS} --codecs {CODECS} --samples 6 --views 12 --workers 2 "
    "--out {out}/rd",
    "family": "python -m benchmarks.family --views 500 --steps 6000 --out {out}/family",
    "family-clevr": "python -m benchmarks.family --views 500 --steps 6000 --source clevr "
    "--out {out}/family-clevr",
    "rates": "python -m benchmarks.variable_rate --views 500 --steps 3000 --more 1500 "
    "--out {out}/rates",
    "speed": f"dsc bench speed --sets nyuv2,7scenes,views --parts {PARTS} --out {{out}}/speed",
    "speed-page": "python -m benchmarks.speed_page --out {out}/speed",
    "effort": "python -m benchmarks.effort --job 16 --out {out}/effort.json",
    "layers": "python -m benchmarks.layers",
    "layered-seq": "python -m benchmarks.layered_seq real",
    "layered": "python -m benchmarks.layered all --out {out}/layered",
    "guided": "python -m benchmarks.guided --steps 500 --seeds 2 --out {out}/guided",
    "labels": "python -m benchmarks.labels",
    "near-duplicates": "python -m benchmarks.near_duplicates",
    "features": "python -m benchmarks.features",
    "exact": "python -m benchmarks.exact",
    "exact-depth": "python -m benchmarks.exact_depth",
    "paper": "python -m benchmarks.paper_experiment --steps 1500 --crop 128 --batch 2 "
    "--out {out}/paper --kinds single-task disjoint-latent shared-latent-2023 mixed-latent "
    "independent chained shared-latent",
    "archives": "python -m benchmarks.real_data --views 100",
    "rows": "python -m benchmarks.rows",
    "entropy": "python -m benchmarks.entropy_coding",
    "auto": "python -m benchmarks.auto choices vga",
    "auto-beside": "python -m benchmarks.auto beside --frames 6",
    "whole-views": "python -m benchmarks.whole_views --views 24",
    "whole-views-shared": f"python -m benchmarks.whole_views --views 24 --codec {SHARED}",
    "whole-views-512": f"python -m benchmarks.whole_views --views 24 --size 512 --codec {SHARED}",
    "whole-views-exact": "python -m benchmarks.whole_views --views 24 --exact",
    "whole-views-four": f"python -m benchmarks.whole_views --views 24 --tasks rgb,{GEOMETRY} "
    f"--codec {SHARED},segment_semantic=surfaces",
    "whole-views-four-512": "python -m benchmarks.whole_views --views 12 --size 512 --tasks "
    f"rgb,{GEOMETRY} --codec {SHARED},segment_semantic=surfaces",
    "whole-views-geometry": f"python -m benchmarks.whole_views --views 24 --tasks {GEOMETRY} "
    "--codec surfaces",
    "whole-views-filters": "python -m benchmarks.whole_views --views 24 --quality 30,60,90 "
    "--tasks rgb,edge_texture,keypoints2d",
    "whole-views-taskonomy": "python -m benchmarks.whole_views --source taskonomy "
    "--root {data}/taskonomy_native",
    "derived-filters": "python -m benchmarks.derived_filters --every 6",
    "derived-geometry": "python -m benchmarks.derived_geometry",
    "packs": "python -m benchmarks.read_packs",
    "filter-rows": "python -m benchmarks.filter_rows",
    "fetch": "python -m benchmarks.fetch_bytes --views 768",
    "columns": "python -m benchmarks.columns",
    "coco": "python -m benchmarks.coco_annotations",
    "webdataset": "python -m benchmarks.webdataset",
    "workers": "python -m benchmarks.workers --frames 300 --seconds 0 --rounds 1",
    "stream": "dsc bench stream --out {out}/stream",
    "feature-learned": "python -m benchmarks.feature_learned",
    "machine": "dsc bench machine --tasks classification "
    "--codecs embedding,feature-klt,feature-learned:1:15:30:50:70:100,jpeg,webp,avif,av1 "
    "--out {out}/machine",
    "machine-probes": "dsc bench machine --tasks probes --codecs av1:30:60,embedding:30:60:80,"
    "feature-klt:30:60,feature-learned:30,jpeg:15,webp:15,avif:30 --out {out}/machine-probes",
    "machine-segmentation": "dsc bench machine --tasks segmentation "
    "--codecs av1:30,feature-klt:41 --seeds 3 --out {out}/machine-segmentation",
    "machine-detection": "dsc bench machine --tasks detection --samples 150 "
    "--codecs av1:1,jpeg:5,webp:1,avif:1,feature-klt:15 --out {out}/machine-detection",
    "machine-quick": "dsc bench machine --quick --tune --tasks segmentation,detection "
    "--codecs av1:30,feature-klt:30 --out {out}/machine-quick",
    "without-pixels": "python -m benchmarks.without_pixels",
    "sequences": "dsc bench sequences --out {out}/sequences",
    "sequence-epoch": "python -m benchmarks.sequence_epoch",
    "layered-speed": "python -m benchmarks.layered_speed --size fast",
    "lost-payloads": "python -m benchmarks.lost_payloads",
    "depth-from-rgb": "python examples/depth_from_rgb.py --seeds 3",
    "latents": "python examples/train_on_latents.py --data {data}/tiny_imagenet40",
    "machine-path": "python -m benchmarks.machine_path",
    "machine-path-transfer": "python -m benchmarks.machine_path --parts transfer",
    "machine-path-terms": "python -m benchmarks.machine_path_terms --steps 100",
    "mpa": "python -m benchmarks.mpa --out {out}/mpa.json",
    "training-dynamics": "python -m benchmarks.training_dynamics",
    "feature-adapters": "python -m benchmarks.feature_adapters --steps 150 "
    "--work {out}/feature-adapters --out {out}/feature_adapters.json",
    "replay": "python -m benchmarks.replay --out {out}/replay-results",
    "small-images": "python -m benchmarks.small_images",
    "larger-images": "python -m benchmarks.small_images --sets 128,224 --images 40 "
    "--codecs webp,av1-small",
    "replay-memories": "python -m benchmarks.replay_memories --out {out}/memories",
    "replay-buffer": "python -m benchmarks.replay_buffer",
    "replay-select": "python -m benchmarks.replay_select {out}/replay-results",
    "cl-lora": "python -m benchmarks.cl_lora --out {out}/cl-lora",
    "adapter-inference": "python -m benchmarks.adapter_inference",
    "replay-options": "python -m benchmarks.replay_options --out {out}/replay-results",
    "class-incremental": "python -m benchmarks.class_incremental --out {out}/class-incremental",
    "class-incremental-b50": "python -m benchmarks.class_incremental --protocol cifar100-b50-10 "
    "--out {out}/class-incremental",
    "embeddings": "python -m benchmarks.embeddings",
    "keeps-learning": "python -m benchmarks.keeps_learning {data}/cifar100 --steps 100 --batch 32 "
    "--lr 5e-4",
}


def run(name: str, out: Path) -> int:
    """Run a command, show what it prints and keep it. Return its exit status."""
    words = shlex.split(COMMANDS[name].format(out=out, data=DATA))
    words[0] = sys.executable if words[0] == "python" else str(Path(sys.executable).parent / "dsc")
    part = out / f"{name}.part"
    with part.open("w") as kept:
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            kept.write(line)
        status = process.wait()
    if not status:
        part.rename(out / f"{name}.txt")
    return status


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="which; all of them if none is named")
    parser.add_argument("--out", type=Path, default=Path("out/figures"))
    parser.add_argument("--list", action="store_true", help="show the commands and run none")
    parser.add_argument("--again", action="store_true", help="run also what has been run")
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in COMMANDS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(COMMANDS)}")
    failed = []
    for name in args.names or COMMANDS:
        command = COMMANDS[name].format(out=args.out, data=DATA)
        if args.list:
            print(f"{name:15} {command}")
            continue
        args.out.mkdir(parents=True, exist_ok=True)
        if (args.out / f"{name}.txt").exists() and not args.again:
            print(f"{name}: in {args.out / name}.txt already")
            continue
        print(f"\n{name}: {command}", flush=True)
        if run(name, args.out):
            failed.append(f"{name}: what it said is in {args.out / name}.part")
    print("\n".join(["", "failed:", *failed]) if failed else "", end="\n" if failed else "")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
