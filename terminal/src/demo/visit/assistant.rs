//! The shop's assistant: spans as the semantic conventions of generative AI have them, with long prompts and answers.

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::json;

use super::{Served, Visit, double, event, exception, failed, int, shop, text};

const SERVICE: &str = "assistant";
const MODELS: [&str; 3] = ["small-chat-1", "large-chat-2", "large-chat-2"];
/// Of requests to the model, those that it turns away.
const RATE_LIMITED: f64 = 0.08;

const QUESTIONS: [&str; 5] = [
    "Which of your rain jackets is light enough for a week in the mountains, and is it in stock in blue?",
    "I ordered the wrong size. What do I have to do to send it back, and who pays for that?",
    "Compare the two cheapest tents for three people for me, in a table.",
    "My order has been on its way for nine days. Where is it?",
    "What should I give a ten-year-old who likes climbing, for not more than forty?",
];

const INSTRUCTIONS: &str = "You are the assistant of an outdoor shop. Answer in the customer's language, briefly and with the \
    facts that the tools give you; never invent prices, stock or delivery times. ";

const RULES: [&str; 6] = [
    "Returns are free within 30 days when the label in the parcel is used; shoes must not have been worn outside. ",
    "Name a product with its id in brackets, so that the page can show its picture beside the answer. ",
    "When a product is not in stock in one warehouse, ask the others before you say that it cannot be had. ",
    "If the customer is angry, say first that you understand, then what you can do, and only then what you cannot. ",
    "Discounts of members are applied at checkout; do not compute them, and do not promise any. ",
    "Hand over to a person when the question is about an accident, the law, or a complaint that was made before. ",
];

/// An agent that asks a model, uses a tool, and asks again.
pub(super) fn answer(visit: &mut Visit<'_>, parent: &[u8], start: u64) -> Served {
    let mut agent = visit.span("invoke_agent shop-assistant", SpanKind::Internal, parent, start);
    agent.attributes = vec![
        text("gen_ai.operation.name", "invoke_agent"),
        text("gen_ai.agent.name", "shop-assistant"),
        text("gen_ai.conversation.id", &format!("conversation-{}", visit.visitor.number)),
    ];
    let (model, question) = (visit.random.one_of(&MODELS), visit.random.one_of(&QUESTIONS));
    let first = chat(visit, &agent.span_id, model, question, None, start);
    let last = match first.has_failed {
        true => first,
        false => {
            let found = use_tool(visit, &agent.span_id, question, first.end);
            chat(visit, &agent.span_id, model, question, Some(RESULT), found)
        }
    };
    let (end, has_failed) = (last.end + visit.random.work(1.0), last.has_failed);
    if has_failed {
        agent.status = failed("the model did not answer");
    }
    visit.finish(SERVICE, agent, end);
    Served { end, ..last }
}

const RESULT: &str = r#"[{"id":"jacket-17","name":"Drizzle","grams":290,"blue":4},{"id":"jacket-21","name":"Squall","grams":410,"blue":0}]"#;

fn chat(
    visit: &mut Visit<'_>,
    parent: &[u8],
    model: &'static str,
    question: &str,
    tool_result: Option<&str>,
    start: u64,
) -> Served {
    let mut span = visit.span(&format!("chat {model}"), SpanKind::Client, parent, start);
    let prompt = prompt(visit, question, tool_result);
    let input_tokens = prompt.len() as i64 / 4;
    span.attributes = vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.provider.name", "example"),
        text("gen_ai.request.model", model),
        double("gen_ai.request.temperature", 0.2),
        int("gen_ai.request.max_tokens", 1024),
        text("gen_ai.input.messages", &prompt),
        text("server.address", "models.example"),
    ];
    if visit.random.happens(RATE_LIMITED) {
        let end = start + visit.random.work(60.0);
        exception(&mut span, end, "RateLimited", "429 Too Many Requests: tokens per minute exceeded");
        return finished(visit, span, end, true);
    }
    let first_token = start + visit.random.work(if model == MODELS[0] { 180.0 } else { 420.0 });
    span.events.push(event("first token", first_token, Vec::new()));
    let output_tokens = 40 + visit.random.below(360) as i64;
    let end = first_token + visit.random.work(output_tokens as f64 * if model == MODELS[0] { 2.0 } else { 6.0 });
    let reason = if tool_result.is_some() { "stop" } else { "tool_calls" };
    span.attributes.extend([
        text("gen_ai.response.model", model),
        text("gen_ai.response.finish_reasons", reason),
        int("gen_ai.usage.input_tokens", input_tokens),
        int("gen_ai.usage.output_tokens", output_tokens),
        text("gen_ai.output.messages", &output(tool_result.is_some())),
    ]);
    finished(visit, span, end, false)
}

fn finished(visit: &mut Visit<'_>, span: Span, end: u64, has_failed: bool) -> Served {
    let served = Served::of(&span, end, has_failed);
    visit.finish(SERVICE, span, end);
    served
}

/// Instructions, what was said before, the question, and what the tool gave.
fn prompt(visit: &mut Visit<'_>, question: &str, tool_result: Option<&str>) -> String {
    let rules: String = (0..12 + visit.random.below(30)).map(|_| visit.random.one_of(&RULES)).collect();
    let mut messages =
        vec![json!({"role": "system", "parts": [{"type": "text", "content": format!("{INSTRUCTIONS}{rules}")}]})];
    for _ in 0..visit.random.below(4) {
        let before = visit.random.one_of(&QUESTIONS);
        messages.push(json!({"role": "user", "parts": [{"type": "text", "content": before}]}));
        messages.push(json!({"role": "assistant", "parts": [{"type": "text", "content": ANSWER}]}));
    }
    messages.push(json!({"role": "user", "parts": [{"type": "text", "content": question}]}));
    messages.extend(tool_result.map(
        |result| json!({"role": "tool", "parts": [{"type": "tool_call_response", "id": "call-1", "result": result}]}),
    ));
    json!(messages).to_string()
}

const ANSWER: &str = "The Drizzle [jacket-17] weighs 290 g, packs into its own pocket, and is there in blue: four of them, in the \
    warehouse from which your parcel would leave tomorrow. The Squall [jacket-21] keeps off more wind but is 120 g heavier and \
    sold out in blue. For a week in the mountains I would take the Drizzle and a warm layer below it.";

fn output(has_result: bool) -> String {
    let part = match has_result {
        true => json!({"type": "text", "content": ANSWER}),
        false => {
            json!({"type": "tool_call", "id": "call-1", "name": "search_products", "arguments": {"words": "rain jacket light blue"}})
        }
    };
    json!([{"role": "assistant", "parts": [part]}]).to_string()
}

/// The tool asks the search of the shop.
fn use_tool(visit: &mut Visit<'_>, parent: &[u8], question: &str, start: u64) -> u64 {
    let mut span = visit.span("execute_tool search_products", SpanKind::Internal, parent, start);
    span.attributes = vec![
        text("gen_ai.operation.name", "execute_tool"),
        text("gen_ai.tool.name", "search_products"),
        text("gen_ai.tool.call.id", "call-1"),
        text("gen_ai.tool.call.arguments", &json!({ "question": question }).to_string()),
        text("gen_ai.tool.call.result", RESULT),
    ];
    let begin = start + visit.random.work(1.0);
    let end = match shop::find("search/Query") {
        Some(search) => visit.call(SERVICE, search, &span.span_id, begin).end,
        None => begin,
    } + visit.random.work(1.0);
    visit.finish(SERVICE, span, end);
    end
}
