#include "graph.h"

#ifdef VIGORL_CUDA_GRAPHS
#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/DeviceGuard.h>

#include <cstdio>
#include <mutex>
#endif

namespace vigorl {

#ifdef VIGORL_CUDA_GRAPHS

namespace {

// Work on this stream is captured; it is put back when the guard goes.
class StreamGuard {
 public:
  explicit StreamGuard(c10::cuda::CUDAStream stream)
      : before_(c10::cuda::getCurrentCUDAStream(stream.device_index())) {
    c10::cuda::setCurrentCUDAStream(stream);
  }
  ~StreamGuard() { c10::cuda::setCurrentCUDAStream(before_); }
  StreamGuard(const StreamGuard&) = delete;
  StreamGuard& operator=(const StreamGuard&) = delete;

 private:
  c10::cuda::CUDAStream before_;
};

using Pool = at::cuda::MempoolId_t;

// Every run copies its results before the next begins, so the graphs of a thread may use the same memory.
// Once the last of them is gone libtorch takes the memory back, and the next one needs another pool.
std::shared_ptr<const Pool> pool_of_thread() {
  thread_local std::weak_ptr<const Pool> present;
  std::shared_ptr<const Pool> pool = present.lock();
  if (pool == nullptr) present = pool = std::make_shared<const Pool>(at::cuda::graph_pool_handle());
  return pool;
}

class CudaGraph : public Graph {
 public:
  bool capture(c10::DeviceIndex device, const Work& work) {
    // One capture at a time in the process; other threads may go on computing.
    static std::mutex capturing;
    const std::lock_guard<std::mutex> lock(capturing);
    device_ = c10::Device(c10::kCUDA, device);
    const c10::DeviceGuard on(device_);
    const StreamGuard guard(c10::cuda::getStreamFromPool(false, device));
    bool begun = false;
    try {
      graph_.capture_begin(*pool_, cudaStreamCaptureModeThreadLocal);
      begun = true;
      results_ = work();
      begun = false;
      graph_.capture_end();
      return true;
    } catch (const std::exception& error) {
      results_.clear();
      static std::once_flag said;
      std::call_once(said, [&] {
        std::fprintf(stderr, "vigorl: operators that cannot be a CUDA graph run one by one: %.600s\n", error.what());
      });
      if (begun) {
        try {
          graph_.capture_end();
        } catch (const std::exception&) {
          // A capture that failed ends with an error of its own.
        }
      }
      return false;
    }
  }

  std::vector<at::Tensor> run() override {
    const c10::DeviceGuard on(device_);
    graph_.replay();
    std::vector<at::Tensor> copies;
    for (const at::Tensor& result : results_) copies.push_back(result.clone());
    return copies;
  }

 private:
  c10::Device device_{c10::kCUDA};
  std::shared_ptr<const Pool> pool_ = pool_of_thread();
  at::cuda::CUDAGraph graph_;
  std::vector<at::Tensor> results_;
};

}  // namespace

std::unique_ptr<Graph> Graph::capture(c10::DeviceIndex device, const Work& work) {
  auto graph = std::make_unique<CudaGraph>();
  if (!graph->capture(device, work)) return nullptr;
  return graph;
}

#else

std::unique_ptr<Graph> Graph::capture(c10::DeviceIndex, const Work&) { return nullptr; }

#endif

}  // namespace vigorl
