// Kernels of our own on a GPU, for bfloat16. They are compiled at first use by the compiler that comes
// with libtorch (NVRTC), so that nothing but the headers of the CUDA runtime is needed to build the addon.
#pragma once

#include <string>

namespace vigorl {

// "" where the kernels run on this thread's device, else why they do not.
std::string cuda_kernels_fault();

}  // namespace vigorl
