/**
 * A plain decoder-only transformer for `bench -- torch`: learned positions, pre-norm, GELU, tied head,
 * every operator the one that a Python programmer would write. Nothing of src/model is in it.
 * Legend: B sequences, T tokens each, C width.
 */
import { crossEntropy, layerNorm, linear, attention } from "../src/torch/nn.ts";
import { embedding, gelu, ones, randn, zeros, type Tensor } from "../src/torch/ops.ts";
import { AdamW } from "../src/torch/optim.ts";
import { scope } from "../src/torch/scope.ts";
import type { Device } from "../src/torch/tensor.ts";

export interface TransformerSizes {
  readonly vocab: number;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
}

export class Transformer {
  readonly parameters = new Map<string, Tensor>();
  readonly #sizes: TransformerSizes;
  readonly #optimizer: AdamW;

  constructor(sizes: TransformerSizes, length: number, device: Device) {
    this.#sizes = sizes;
    const { vocab, width, layers } = sizes;
    const weight = (name: string, shape: number[]): void => {
      const drawn = scope(() => randn(shape).mul(0.02).to(device));
      this.parameters.set(name, drawn.requiresGrad_().keep());
    };
    const norm = (name: string): void => {
      this.parameters.set(`${name}.weight`, ones([width], { device }).requiresGrad_().keep());
      this.parameters.set(`${name}.bias`, zeros([width], { device }).requiresGrad_().keep());
    };
    weight("words", [vocab, width]);
    weight("positions", [length, width]);
    for (let i = 0; i < layers; i++) {
      norm(`${i}.norm1`);
      weight(`${i}.qkv`, [3 * width, width]);
      weight(`${i}.out`, [width, width]);
      norm(`${i}.norm2`);
      weight(`${i}.up`, [4 * width, width]);
      weight(`${i}.down`, [width, 4 * width]);
    }
    norm("norm");
    this.#optimizer = new AdamW([{ parameters: this.parameters }]);
  }

  /** One step on tokens [B, T + 1]; the mean loss before it. */
  step(tokens: Tensor, learningRate: number): number {
    return scope(() => {
      const length = tokens.shape[1] - 1;
      const loss = this.#loss(tokens.narrow(1, 0, length), tokens.narrow(1, 1, length));
      loss.backward();
      this.#optimizer.step(learningRate);
      this.#optimizer.zeroGrad();
      return loss.item();
    });
  }

  dispose(): void {
    this.#optimizer.dispose();
    for (const parameter of this.parameters.values()) parameter.dispose();
  }

  #loss(tokens: Tensor, targets: Tensor): Tensor {
    const { layers, heads, width, vocab } = this.#sizes;
    const [size, length] = tokens.shape;
    const at = (name: string): Tensor => this.parameters.get(name)!;
    const norm = (x: Tensor, name: string): Tensor =>
      layerNorm(x, at(`${name}.weight`), at(`${name}.bias`));
    let x = embedding(at("words"), tokens).add(at("positions"));
    for (let i = 0; i < layers; i++) {
      const [q, k, v] = linear(norm(x, `${i}.norm1`), at(`${i}.qkv`))
        .view([size, length, 3 * heads, width / heads])
        .transpose(1, 2)
        .chunk(3, 1);
      const mixed = attention(q, k, v, { isCausal: true })
        .transpose(1, 2)
        .reshape([size, length, width]);
      x = x.add(linear(mixed, at(`${i}.out`)));
      const inner = gelu(linear(norm(x, `${i}.norm2`), at(`${i}.up`)));
      x = x.add(linear(inner, at(`${i}.down`)));
    }
    const logits = linear(norm(x, "norm"), at("words")).view([-1, vocab]);
    return crossEntropy(logits, targets.reshape([-1]));
  }
}
