/**
 * The language model's weights packed for our own products, norms' gains and biases with them: a layer
 * of a decode step is four products and an attention. Experts are packed one by one; what an adapter
 * adds is packed with the rest.
 */
import { allocateBlock, divideBlock } from "../torch/arena.ts";
import { cat, type Tensor } from "../torch/ops.ts";
import {
  packedLinear,
  packedShape,
  packWeights,
  type PackedWeights,
} from "../torch/packed-linear.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { effectiveWeight } from "./adapter.ts";
import type { TextConfig } from "./config.ts";
import { deltaInputs, deltaInputWidth } from "./delta-net.ts";
import { mixture, route } from "./experts.ts";
import {
  gateRows,
  headsProjection,
  headsWidth,
  normHeads_,
  PIECE_LENGTH,
  type FusedLanguage,
} from "./fused.ts";
import { activeOf, attentionOf, deltaOf, type LanguageLayer } from "./language.ts";
import { aligned, gainOf, giveUp, type Mlp } from "./layers.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";

interface PackedLayer {
  /** To heads, or to what a delta net reads. */
  readonly heads: PackedWeights;
  /** To gates on what attention gives, where there are any. */
  readonly gates?: PackedWeights;
  readonly output: PackedWeights;
  /** Where there are experts. */
  readonly router?: PackedWeights;
  /** One, or one an expert. */
  readonly mlps: readonly PackedMlp[];
  readonly shared?: PackedMlp & { readonly gate: PackedWeights };
}

interface PackedMlp {
  readonly gateUp: PackedWeights;
  readonly down: PackedWeights;
}

interface Size extends Omit<PackedWeights, "panels"> {
  readonly depth: number;
}

export class PackedLanguage implements FusedLanguage {
  readonly block: Tensor;
  readonly canTape: boolean;
  readonly pieceLength: number | null;
  readonly #model: VisionLanguageModel;
  readonly #layers: readonly PackedLayer[];
  readonly #head: PackedWeights;
  readonly #panels: readonly Tensor[];
  readonly #normEps: number;
  readonly #replaces: boolean;

  /**
   * @param block of another one of this model, whose copies are used; taken over. Else to be filled.
   * @param replaces packed weights take the place of the model's, which cannot change any more
   */
  constructor(model: VisionLanguageModel, block?: Tensor, replaces = false) {
    this.#replaces = replaces;
    const { text } = model.config;
    const { layers } = model.language;
    const own = layers.map((layer) => layerSizes(layer, text));
    const last: Size = { width: text.vocabSize, depth: text.hiddenSize };
    const all = [...own.flatMap((sizes) => listed(sizes)), last];
    const shapes = all.map(({ width, depth, gated }) => packedShape(width, depth, gated));
    this.#model = model;
    this.#normEps = text.rmsNormEps;
    // Delta nets solve many positions at once, and round by how many there are.
    this.pieceLength = text.delta === undefined ? null : PIECE_LENGTH;
    this.canTape = text.experts === undefined;
    const options = { dtype: model.dtype, device: model.device };
    this.block = block?.keep() ?? allocateBlock(shapes, options);
    this.#panels = divideBlock(this.block, shapes);
    const next = this.#panels.values();
    const take = (size: Size): PackedWeights => ({ ...size, panels: next.next().value! });
    this.#layers = own.map((sizes) => packedLayer(sizes, take));
    this.#head = take(last);
  }

  refresh(): void {
    const { language, config } = this.#model;
    const { text } = config;
    noGrad(() => {
      for (const [i, layer] of language.layers.entries())
        scope(() => {
          const packed = this.#layers[i];
          const before = gainOf(layer.inputNorm, text);
          const after = gainOf(layer.postNorm, text);
          packMixer(packed, layer, text, before);
          if (packed.router !== undefined && "router" in layer.mlp)
            packWeights(packed.router, { weight: layer.mlp.router.mul(after) });
          for (const [expert, to] of packed.mlps.entries())
            scope(() => packMlp(to, mlpWeights(layer, expert), after));
          if (packed.shared !== undefined && "router" in layer.mlp) {
            const { mlp, gate } = layer.mlp.shared!;
            packMlp(packed.shared, effectiveMlp(mlp), after);
            packWeights(packed.shared.gate, { weight: effectiveWeight(gate).mul(after) });
          }
          if (this.#replaces) giveUpLayer(layer);
        });
      scope(() =>
        packWeights(this.#head, { weight: language.head, gain: gainOf(language.norm, text) }),
      );
      if (this.#replaces && language.head !== language.embedTokens) language.head.dispose();
    });
  }

  heads(layer: number, x: Tensor): Tensor {
    const { language, config } = this.#model;
    const own = attentionOf(language.layers[layer]);
    return normHeads_(this.deltaInputs(layer, x), own, config.text);
  }

  deltaInputs(layer: number, x: Tensor): Tensor {
    return packedLinear(x, this.#layers[layer].heads, { normEps: this.#normEps });
  }

  gates(layer: number, x: Tensor): Tensor | undefined {
    const { gates } = this.#layers[layer];
    if (gates === undefined) return undefined;
    const logits = packedLinear(x, gates, { normEps: this.#normEps });
    return aligned(logits, (rows) => rows.sigmoid());
  }

  output(layer: number, mixed: Tensor, residual: Tensor): Tensor {
    return packedLinear(mixed, this.#layers[layer].output, { residual });
  }

  mlp(layer: number, x: Tensor): Tensor {
    const { router, mlps, shared } = this.#layers[layer];
    const normEps = this.#normEps;
    if (router === undefined) {
      const [{ gateUp, down }] = mlps;
      return packedLinear(packedLinear(x, gateUp, { normEps }), down, { residual: x });
    }
    const active = activeOf(this.#model.config.text.experts);
    const routing = route(packedLinear(x, router, { normEps }), active);
    const sum = mixture(x, routing, (expert, rows) => {
      const { gateUp, down } = mlps[expert];
      return packedLinear(packedLinear(rows, gateUp, { normEps }), down);
    });
    if (shared === undefined) return x.add(sum);
    const { gateUp, down, gate } = shared;
    const own = packedLinear(packedLinear(x, gateUp, { normEps }), down);
    const share = aligned(packedLinear(x, gate, { normEps }), (rows) => rows.sigmoid());
    return x.add(sum.add(own.mul(share)));
  }

  logits(x: Tensor): Tensor {
    return packedLinear(x, this.#head, { normEps: this.#normEps });
  }

  dispose(): void {
    for (const panels of this.#panels) panels.dispose();
    this.block.dispose();
  }
}

/** Sizes of what is packed of a layer, in the shape of the layer. */
interface LayerSizes {
  readonly heads: Size;
  readonly gates?: Size;
  readonly output: Size;
  readonly router?: Size;
  readonly mlps: readonly { readonly gateUp: Size; readonly down: Size }[];
  readonly shared?: { readonly gateUp: Size; readonly down: Size; readonly gate: Size };
}

function layerSizes(layer: LanguageLayer, text: TextConfig): LayerSizes {
  const { hiddenSize, experts, delta } = text;
  const mlp = (inner: number): { readonly gateUp: Size; readonly down: Size } => ({
    gateUp: { width: inner, depth: hiddenSize, gated: true },
    down: { width: hiddenSize, depth: inner },
  });
  const net = deltaOf(layer) === undefined ? undefined : delta;
  const mixed = net === undefined ? text.numHeads * text.headDim : net.numValueHeads * net.valueDim;
  const from = (width: number): Size => ({ width, depth: hiddenSize });
  const shared = experts?.sharedIntermediateSize;
  return {
    heads: from(net === undefined ? headsWidth(text) : deltaInputWidth(net)),
    gates: net === undefined && text.outputGates ? from(mixed) : undefined,
    output: { width: hiddenSize, depth: mixed },
    router: experts && from(experts.count),
    mlps: Array.from({ length: experts?.count ?? 1 }, () =>
      mlp(experts?.intermediateSize ?? text.intermediateSize),
    ),
    shared: shared === undefined ? undefined : { ...mlp(shared), gate: from(1) },
  };
}

/** The sizes of a layer in the order in which they lie. */
function listed(sizes: LayerSizes): Size[] {
  const { heads, gates, output, router, mlps, shared } = sizes;
  return [
    heads,
    gates,
    output,
    router,
    ...mlps.flatMap(({ gateUp, down }) => [gateUp, down]),
    shared?.gateUp,
    shared?.down,
    shared?.gate,
  ].filter((size) => size !== undefined);
}

function packedLayer(sizes: LayerSizes, take: (size: Size) => PackedWeights): PackedLayer {
  const maybe = (size?: Size) => (size === undefined ? undefined : take(size));
  const mlp = ({ gateUp, down }: { readonly gateUp: Size; readonly down: Size }): PackedMlp => ({
    gateUp: take(gateUp),
    down: take(down),
  });
  return {
    heads: take(sizes.heads),
    gates: maybe(sizes.gates),
    output: take(sizes.output),
    router: maybe(sizes.router),
    mlps: sizes.mlps.map(mlp),
    shared: sizes.shared && { ...mlp(sizes.shared), gate: take(sizes.shared.gate) },
  };
}

/** @param gain of the norm before */
function packMixer(
  { heads, gates, output }: PackedLayer,
  layer: LanguageLayer,
  text: TextConfig,
  gain: Tensor,
): void {
  const net = deltaOf(layer);
  if (net !== undefined) {
    packWeights(heads, { weight: cat(deltaInputs(net).map(effectiveWeight), 0).mul(gain) });
    packWeights(output, { weight: effectiveWeight(net.out) });
    return;
  }
  const attention = attentionOf(layer);
  const { weight, bias } = headsProjection(attention, text, effectiveWeight);
  packWeights(heads, { weight: weight.mul(gain), bias });
  if (gates !== undefined)
    packWeights(gates, { weight: gateRows(effectiveWeight(attention.q), text).mul(gain) });
  packWeights(output, { weight: effectiveWeight(attention.o) });
}

function giveUpLayer({ mixer, mlp }: LanguageLayer): void {
  if ("kernel" in mixer) giveUp([...deltaInputs(mixer), mixer.out]);
  else giveUp([mixer.q, mixer.k, mixer.v, mixer.o]);
  if (!("router" in mlp)) return giveUp([mlp.gate, mlp.up, mlp.down]);
  for (const part of [mlp.router, mlp.gateUp, mlp.down]) part.dispose();
  if (mlp.shared === undefined) return;
  const { gate, up, down } = mlp.shared.mlp;
  giveUp([gate, up, down, mlp.shared.gate]);
}

type MlpWeights = Record<"gate" | "up" | "down", Tensor>;

function packMlp({ gateUp, down }: PackedMlp, from: MlpWeights, gain: Tensor): void {
  packWeights(gateUp, ...[from.gate, from.up].map((part) => ({ weight: part.mul(gain) })));
  packWeights(down, { weight: from.down });
}

/** Matrices [out, in] of a layer's MLP, or of one of its experts. */
function mlpWeights({ mlp }: LanguageLayer, expert: number): MlpWeights {
  if (!("router" in mlp)) return effectiveMlp(mlp);
  const [gate, up] = mlp.gateUp.select(0, expert).chunk(2, 0);
  return { gate, up, down: mlp.down.select(0, expert) };
}

function effectiveMlp({ gate, up, down }: Mlp): MlpWeights {
  return {
    gate: effectiveWeight(gate),
    up: effectiveWeight(up),
    down: effectiveWeight(down),
  };
}
