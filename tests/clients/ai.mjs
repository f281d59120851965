// Vercel's AI SDK with its provider for servers like OpenAI's; prints one JSON line of what it got.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { embedMany, generateText, Output, stepCountIs, streamText, tool } from 'ai'
import { z } from 'zod'

const provider = createOpenAICompatible({
  name: 'aiadmin',
  baseURL: `${process.env.AIADMIN_URL}/v1`,
  apiKey: 'any',
  includeUsage: true,
  supportsStructuredOutputs: true,
})
const given = { model: provider('smollm2'), temperature: 0, maxOutputTokens: 60, maxRetries: 0 }
const ask = { ...given, prompt: 'Say: this is a test.' }
const trip = z.object({ city: z.enum(['Bonn', 'Trier']), days: z.number().int().min(1).max(7) })

const whole = await generateText(ask)

const stream = streamText(ask)
const pieces = []
for await (const piece of stream.textStream) pieces.push(piece)

const structured = await generateText({ ...ask, output: Output.object({ schema: trip }) })
const growing = streamText({ ...ask, output: Output.object({ schema: trip }) })
let grown
for await (const partial of growing.partialOutputStream) grown = partial

// One step has to call the tool, the next has to answer.
const asked = []
const weather = tool({
  description: 'The weather of the next days.',
  inputSchema: trip,
  execute: async (input) => {
    asked.push(input)
    return 'Rain.'
  },
})
const tools = {
  ...given,
  prompt: 'What is the weather in Bonn?',
  tools: { weather },
  stopWhen: stepCountIs(2),
  providerOptions: { aiadmin: { parallel_tool_calls: false } },
  prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? 'required' : 'none' }),
}
const called = await generateText(tools)
const calling = streamText(tools)
const kinds = new Set()
for await (const part of calling.fullStream) kinds.add(part.type)

const { embeddings } = await embedMany({ model: provider.embeddingModel('minilm'), values: ['a cat', 'a dog'] })

let refusal = null
try {
  await generateText({ ...ask, model: provider('no-such-model') })
} catch (error) {
  refusal = { status: error.statusCode, message: error.message }
}

console.log(
  JSON.stringify({
    whole: whole.text,
    usage: whole.usage,
    finish: whole.finishReason,
    pieces,
    structured: structured.output,
    grown,
    asked,
    called: called.text,
    steps: called.steps.length,
    streamed: await calling.text,
    kinds: [...kinds],
    embeddings: embeddings.map((vector) => vector.length),
    refusal,
  }),
)
