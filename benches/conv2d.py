#!/usr/bin/env python3
"""The yardstick of benches/gpu.sh: PyTorch's conv2d, one image with one kernel in float32 without TF32, as a table: benches/conv2d.py [SIDE …]"""
import statistics, sys, time
import torch

if not torch.cuda.is_available():
    sys.exit("PyTorch finds no GPU")
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
torch.backends.cudnn.benchmark = True       # the fastest of cuDNN's methods, chosen while warming up

def median_ms(run):
    times = []
    for _ in range(24):
        torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        times.append(1e3*(time.perf_counter() - start))
    return statistics.median(times[3:])

print(f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}, {torch.cuda.get_device_name()}\n")
print("| image | kernel | conv2d / ms | Gflop/s |\n|---|---|---|---|")
for side in [int(side) for side in sys.argv[1:]] or [512, 1024, 2048, 4096]:
    for k in (19, 25):
        image, kernel = torch.rand(1, 1, side, side, device="cuda"), torch.rand(1, 1, k, k, device="cuda")
        with torch.inference_mode():
            ms = median_ms(lambda: torch.nn.functional.conv2d(image, kernel))
        print(f"| {side}² | {k}² | {ms:.3f} | {2e-6*(k*(side - k + 1))**2/ms:.0f} |")
