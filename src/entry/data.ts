/** `vigorl/data`: datasets in and out. Loads no native code until a picture is decoded. */
export { VigorlError } from "../core/errors.ts";
export { openDataset, readDataset } from "../data/dataset.ts";
export { writeDataset } from "../data/write.ts";
export { loadImages, type ImageSource, type TaskRecord } from "../task/record.ts";
