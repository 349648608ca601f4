// What people read, in two languages, in one table. English says what it has always said: programs
// that read it should ask for json.
#pragma once

#include "consumer/cli/args.h"
#include "pricing/book.h"

enum language { LANGUAGE_EN, LANGUAGE_ZH };

// One X(text, english, chinese) each. {1} to {9} stand for what is put in.
#define TEXT_ROWS(X)                                                                               \
    X(CALL, "call", "次")                                                                          \
    X(CALLS, "calls", "次")                                                                        \
    X(LEAD, "lead", "条")                                                                          \
    X(LEADS, "leads", "条")                                                                        \
    X(SERVICE, "Service", "服务")                                                                  \
    X(PRICE_BOOK, "Price book", "价格表")                                                          \
    X(PRICE_BOOK_IS, "{1}, SHA-256 {2}", "{1}，SHA-256 {2}")                                       \
    X(PRICE_BOOK_FROM, ", from {1}", "，自 {1} 起")                                                \
    X(NEED, "Need", "用量")                                                                        \
    X(HELD, "Held", "已有")                                                                        \
    X(HELD_BY, "{1} by {2}, drawn first", "{2} 持有 {1}，先行抵扣")                                \
    X(GROUP_CALL, "  {1} call", "  {1} 次调用")                                                    \
    X(GROUP_CALLS, "  {1} calls", "  {1} 次调用")                                                  \
    X(GROUP_LEADS, " of {1}", "，每次 {1}")                                                        \
    X(GROUP_PRICE, ": {1} yuan a {2}", "：每{2} {1} 元")                                           \
    X(GROUP_TIER, " (tier from {1})", "（{1} 起的档位）")                                          \
    X(WAY, "way", "方式")                                                                          \
    X(PACKAGE, "package", "套餐包")                                                                \
    X(PRICE, "price yuan", "套餐价（元）")                                                         \
    X(COVERED, "covered", "抵扣")                                                                  \
    X(LEFT, "left", "剩余")                                                                        \
    X(POSTPAID, "postpaid", "后付费")                                                              \
    X(POSTPAID_YUAN, "postpaid yuan", "后付费（元）")                                              \
    X(TOTAL, "total yuan", "合计（元）")                                                           \
    X(CUSTOM_PACKAGE, "custom package", "定制套餐包")                                              \
    X(COMBINATION, "combination", "组合")                                                          \
    X(COMBINATION_OF, "  combination: ", "  组合：")                                               \
    X(PACKAGE_OF, "{1} package of {2}", "{1} 个 {2} 的套餐包")                                     \
    X(PACKAGES_OF, "{1} packages of {2}", "{1} 个 {2} 的套餐包")                                   \
    X(CUSTOM_OF, "{1} custom package of {2}", "{1} 个 {2} 的定制套餐包")                           \
    X(CUSTOMS_OF, "{1} custom packages of {2} together", "{1} 个定制套餐包，共 {2}")               \
    X(AND, " and ", "、")                                                                          \
    X(LEAST, "* the least: {1} yuan", "* 最低：{1} 元")                                            \
    X(LEAST_POSTPAID, ", paid after use", "，用后付费")                                            \
    X(LEAST_SAVES,                                                                                 \
      ", {1} less than postpaid; what is left stays valid for a year from the purchase",           \
      "，比后付费少 {1} 元；剩余用量自购买起一年内有效")                                           \
    X(NOT_ALL,                                                                                     \
      "There are too many combinations to look at all of them: others may cost still less.",       \
      "组合太多，未能全部比较：可能还有更便宜的。")                                                \
    X(SETTLEMENT_IS, "settlement {1}", "结算 {1}")                                                 \
    X(OPENING, "opening balance", "期初余额")                                                      \
    X(CREDITS, "+ credits", "+ 充值")                                                              \
    X(ADJUSTMENTS, "+ adjustments", "+ 调整")                                                      \
    X(AMOUNT, "- amount", "- 用量金额")                                                            \
    X(CLOSING, "= closing balance", "= 期末余额")                                                  \
    X(AFTER_IT, "  {1} after it; {2} calls, {3} of them while suspended",                          \
      "  结算后{1}；{2} 次调用，其中停用期间 {3} 次")                                              \
    X(ACTIVE, "ACTIVE", "正常")                                                                    \
    X(SUSPENDED, "SUSPENDED", "停用")                                                              \
    X(LINE_PACKAGE, "package {1} of {2} units, bought for {3} yuan",                               \
      "套餐包 {1}（{2}，购买价 {3} 元）")                                                          \
    X(LINE_TIER, "postpaid, tier from {1}", "后付费，{1} 起的档位")                                \
    X(LINE_IS, "  {1} units x {2} = {3} yuan; calls: {4}", "  {1} × {2} = {3} 元；{4} 次调用")     \
    X(CALL_OFFSET, "offset", "位点")                                                               \
    X(CALL_REQUEST, "  request {1}", "  请求 {1}")                                                 \
    X(EQUAL, "equal to what is recorded; calls read again from offset {1} to {2} of shard {3}",    \
      "与记录一致；已重新读取分片 {3} 的位点 {1} 至 {2}")                                          \
    X(BOOK_IS, "price book {1}", "价格表 {1}")                                                     \
    X(STATEMENT, "Statement of {1}, {2}, in yuan", "{1} 的账单，{2}，单位：元")                    \
    X(STATEMENT_OPEN, "  provisional: settled until {1}; what was used since then is not in it",   \
      "  本月未结：已结算至 {1}；此后的用量未计入")                                                \
    X(STATEMENT_END,                                                                               \
      "  {1} at the end of the month; calls: {2}, settlements: {3}, packages bought: {4} for {5} " \
      "yuan",                                                                                      \
      "  月末{1}；调用：{2}，结算：{3}，购买套餐包：{4}，共 {5} 元")                               \
    X(TIME, "time", "时间")                                                                        \
    X(WHAT, "what", "事项")                                                                        \
    X(REFERENCE, "reference", "编号")                                                              \
    X(YUAN, "yuan", "金额")                                                                        \
    X(BALANCE, "balance", "余额")                                                                  \
    X(TOP_UP, "top-up", "充值")                                                                    \
    X(ADJUSTMENT, "adjustment", "调整")                                                            \
    X(SETTLEMENT, "settlement", "结算")                                                            \
    X(DAY, "day", "业务日")                                                                        \
    X(USED_ON, "used on", "使用日")                                                                \
    X(PAID_BY, "paid by", "计费方式")                                                              \
    X(UNITS, "units", "用量")                                                                      \
    X(UNIT_PRICE, "a unit", "单价")                                                                \
    X(VALID_UNTIL, "valid until", "有效期至")                                                      \
    X(BOUGHT, "bought", "购买量")                                                                  \
    X(LEFT_NOW, "left now", "当前剩余")                                                            \
    X(LINES, "What was used", "用量明细")                                                          \
    X(PACKAGES, "Packages", "套餐包")

#define TEXT_ENUMERATOR(text, english, chinese) TEXT_##text,
enum text { TEXT_ROWS(TEXT_ENUMERATOR) TEXT_COUNT };

// --lang, or else the locale of the environment (LC_ALL, LC_MESSAGES, LANG): Chinese where that is
// Chinese, otherwise English. ERROR_USAGE: the option is neither.
int language_choose(const struct args *args, enum language *out, struct error *e);
const char *language_text(enum language language, enum text text);
// Prints a text with values put in, up to a NULL.
void language_print(enum language language, enum text text, const char *const *values);
#define PRINT_TEXT(language, text, ...)                                                            \
    language_print(language, text, (const char *const[]){__VA_ARGS__, NULL})
// What a service is called: in English its symbol, in Chinese its name in the price book.
const char *language_service(enum language language, enum service service, const char *name);
