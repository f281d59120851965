// Ollama's JavaScript library; prints one JSON line of what it got.
import { Ollama } from 'ollama'

const ollama = new Ollama({ host: process.env.AIADMIN_URL })
const options = { temperature: 0, num_predict: 60 }
const ask = { model: 'smollm2', messages: [{ role: 'user', content: 'Say: this is a test.' }], options }
const schema = {
  type: 'object',
  properties: { city: { enum: ['Bonn', 'Trier'] } },
  required: ['city'],
  additionalProperties: false,
}

const whole = await ollama.chat(ask)

const pieces = []
for await (const part of await ollama.chat({ ...ask, stream: true })) pieces.push(part.message.content)

const structured = await ollama.chat({ ...ask, format: schema })

const tools = [{ type: 'function', function: { name: 'weather', description: 'The weather.', parameters: schema } }]
const question = [{ role: 'user', content: 'What is the weather in Bonn?' }]
const called = await ollama.chat({ ...ask, messages: question, tools, tool_choice: 'required', options })
const results = called.message.tool_calls.map((call) => ({
  role: 'tool',
  content: 'Rain.',
  tool_name: call.function.name,
}))
const told = await ollama.chat({ ...ask, messages: [...question, called.message, ...results], tools })

const { embeddings } = await ollama.embed({ model: 'minilm', input: ['a cat', 'a dog'] })
const models = (await ollama.list()).models.map((model) => model.model)
const shown = await ollama.show({ model: 'smollm2' })

let refusal = null
try {
  await ollama.chat({ ...ask, model: 'no-such-model' })
} catch (error) {
  refusal = { status: error.status_code, message: error.message }
}

console.log(
  JSON.stringify({
    whole: whole.message.content,
    done: whole.done_reason,
    pieces,
    structured: JSON.parse(structured.message.content),
    calls: called.message.tool_calls.map((call) => call.function),
    told: told.message.content,
    embeddings: embeddings.map((vector) => vector.length),
    models,
    capabilities: shown.capabilities,
    refusal,
  }),
)
