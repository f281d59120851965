// Chats, streams and lists models with OpenAI's own library; prints one JSON line of what it got.
import OpenAI from 'openai'

const openai = new OpenAI({ baseURL: `${process.env.AIADMIN_URL}/v1/`, apiKey: 'AiAdmin' })
const messages = [{ role: 'user', content: 'Say: this is a test.' }]

const whole = await openai.chat.completions.create({ model: 'smollm2', messages, max_tokens: 24, temperature: 0 })

let streamed = ''
let finish = null
const stream = await openai.chat.completions.create({
  model: 'smollm2',
  messages,
  max_tokens: 24,
  temperature: 0,
  stream: true,
})
for await (const chunk of stream) {
  streamed += chunk.choices[0]?.delta?.content ?? ''
  finish = chunk.choices[0]?.finish_reason ?? finish
}

const models = []
for await (const model of openai.models.list()) models.push(model.id)

let refusal = null
try {
  await openai.chat.completions.create({ model: 'no-such-model', messages })
} catch (error) {
  refusal = { status: error.status, code: error.code, name: error.constructor.name }
}

console.log(JSON.stringify({ whole: whole.choices[0].message.content, streamed, finish, models, refusal }))
