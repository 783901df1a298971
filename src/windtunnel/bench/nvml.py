"""A CUDA device as NVML knows it."""

from typing import Any

import torch


def find_handle(device: torch.device) -> Any:
    """Return NVML's handle of a CUDA device, found by its place on the bus.

    NVML is started each time and never shut down: it counts, and the end of the process ends it.

    Raises:
        pynvml.NVMLError: There is no driver, or it does not show the device.
    """
    import pynvml  # here, as a machine without an NVIDIA driver has no use for it

    properties = torch.cuda.get_device_properties(device)
    # By its place on the bus: CUDA_VISIBLE_DEVICES renumbers devices for torch, not for NVML.
    place = f"{properties.pci_domain_id:08x}:{properties.pci_bus_id:02x}:{properties.pci_device_id:02x}.0"
    pynvml.nvmlInit()
    return pynvml.nvmlDeviceGetHandleByPciBusId(place.encode())
